"""One libtorrent peer on loopback, set up for speed over TCP and nothing else.

peer.py hold TORRENT FOLDER         prints its port, serves until standard input ends
peer.py ask TORRENT FOLDER PORT     fetches from that port

Both end with a line like our own bench's: seconds, CPU seconds, peak memory in KiB (0 seconds for the holder).
peer.py make TORRENT FILE           makes a v2 torrent with pieces of 4 MiB
peer.py version
"""

import resource
import sys
import time
import warnings

import libtorrent as lt

# Calls that 2.1 calls old and that every 2.x has.
warnings.simplefilter("ignore", DeprecationWarning)

PIECE = 4 << 20

# No uTP, no encryption, no discovery, no limits; buffers that never run dry; many requests on their way; one hashing
# thread each, as there is one core each. The disk is a RAM disk.
SETTINGS = {
    "listen_interfaces": "127.0.0.1:0",
    "enable_outgoing_utp": False,
    "enable_incoming_utp": False,
    "in_enc_policy": 2,
    "out_enc_policy": 2,
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "allow_multiple_connections_per_ip": True,
    "download_rate_limit": 0,
    "upload_rate_limit": 0,
    "unchoke_slots_limit": -1,
    "choking_algorithm": 0,
    "send_buffer_watermark": 16 << 20,
    "send_buffer_low_watermark": 2 << 20,
    "send_buffer_watermark_factor": 200,
    "send_socket_buffer_size": 4 << 20,
    "recv_socket_buffer_size": 4 << 20,
    "send_not_sent_low_watermark": 1 << 20,
    "max_out_request_queue": 2000,
    "max_allowed_in_request_queue": 4000,
    "request_queue_time": 10,
    "whole_pieces_threshold": 20,
    "max_queued_disk_bytes": 256 << 20,
    "aio_threads": 2,
    "hashing_threads": 1,
    "disk_io_write_mode": 0,
    "disk_io_read_mode": 0,
    "suggest_mode": 0,
    "close_redundant_connections": False,
    "alert_mask": int(lt.alert.category_t.status_notification | lt.alert.category_t.error_notification),
}


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_kib():
    # Not ru_maxrss: it begins with what the parent had at the fork.
    with open("/proc/self/status") as status:
        return next(line.split()[1] for line in status if line.startswith("VmHWM:"))


def report(took, before):
    print(f"{took} {cpu() - before} {peak_kib()}", flush=True)


def make(torrent, path):
    files = lt.file_storage()
    lt.add_files(files, path)
    made = lt.create_torrent(files, PIECE, lt.create_torrent.v2_only)
    lt.set_piece_hashes(made, path.rsplit("/", 1)[0])
    with open(torrent, "wb") as out:
        out.write(lt.bencode(made.generate()))


def start(torrent, folder, holds):
    session = lt.session(SETTINGS)
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(torrent)
    params.save_path = folder
    params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    if holds:
        params.flags |= lt.torrent_flags.seed_mode
    return session, session.add_torrent(params)


def wait(session, handle, done):
    while not done(handle.status()):
        session.wait_for_alert(20)
        for alert in session.pop_alerts():
            if alert.category() & lt.alert.category_t.error_notification:
                sys.exit(str(alert))


def hold(torrent, folder):
    session, handle = start(torrent, folder, True)
    wait(session, handle, lambda status: status.is_seeding)
    before = cpu()
    print(session.listen_port(), flush=True)
    sys.stdin.readline()
    report(0, before)


def ask(torrent, folder, port):
    session, handle = start(torrent, folder, False)
    wait(session, handle, lambda status: status.state == lt.torrent_status.downloading)
    before, began = cpu(), time.monotonic()
    handle.connect_peer(("127.0.0.1", int(port)))
    wait(session, handle, lambda status: status.is_seeding)
    report(time.monotonic() - began, before)


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "version":
        print(lt.__version__)
    else:
        {"make": make, "hold": hold, "ask": ask}[what](*rest)
