//! The URLs by which a user names an input.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use aftercast_protocol::ccf::ProgramSelect;
use url::Url;

/// Where a channel is received, and which programme of the stream it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Where its bytes come from.
    pub source: Source,
    /// Programme by number or name; the first with video, or else with sound, where none is given.
    pub program: ProgramSelect,
}

/// Where bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Transport stream packets in UDP datagrams.
    Udp(Listen),
    /// The same in RTP (RFC 2250).
    Rtp(Listen),
    /// A file.
    File {
        /// Its path.
        path: PathBuf,
        /// How fast it is read.
        speed: Speed,
    },
    /// A transport stream over HTTP.
    Http {
        /// The URL.
        url: String,
    },
    /// A playlist of transport stream segments (RFC 8216).
    Hls {
        /// Its URL: `http`, `https`, or `file` for one on this machine.
        url: Url,
    },
}

/// Which datagrams to receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// Group or local address, and port.
    pub addr: SocketAddr,
    /// Interface on which a multicast group is joined; the system's choice if absent.
    pub iface: Option<Iface>,
}

/// An interface, as the socket interfaces of the two families name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Iface {
    /// IPv4: by its address.
    Addr(Ipv4Addr),
    /// IPv6: by its index.
    Index(u32),
}

/// How fast a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speed {
    /// So many times the pace of its clock references.
    Times(u32),
    /// As fast as it can be cut.
    Max,
}

/// Most times real time that can be asked for; beyond it `max` is meant.
const MAX_TIMES: u32 = 1000;

/// An input that cannot be understood. The user is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InputError(String);

fn wrong(text: impl fmt::Display) -> InputError {
    InputError(text.to_string())
}

impl FromStr for Input {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let (scheme, rest) = text
            .split_once(':')
            .ok_or_else(|| wrong(format!("{text:?} is no input URL (udp://, rtp://, http://, https:// or file:)")))?;
        if matches!(scheme, "http" | "https") {
            return web(text);
        }
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut options = Options::parse(query)?;
        let source = match scheme {
            "udp" => Source::Udp(listen(place, &mut options)?),
            "rtp" => Source::Rtp(listen(place, &mut options)?),
            "file" => {
                let path = place.strip_prefix("//").unwrap_or(place);
                if path.is_empty() {
                    return Err(wrong("a file input needs a path: file:PATH"));
                }
                if is_playlist(path) {
                    let whole = std::path::absolute(path).ok().and_then(|path| Url::from_file_path(path).ok());
                    Source::Hls { url: whole.ok_or_else(|| wrong(format!("{path:?} is no path")))? }
                } else {
                    let speed = options.take("speed").map_or(Ok(Speed::Times(1)), |text| speed(&text))?;
                    Source::File { path: path.into(), speed }
                }
            }
            other => return Err(wrong(format!("{other:?} is no kind of input (udp, rtp, http, https, file)"))),
        };
        let program = options.program()?;
        options.finish()?;
        Ok(Self { source, program })
    }
}

/// The query of a web address is the server's; our options are in its fragment, which no server sees.
fn web(text: &str) -> Result<Input, InputError> {
    let mut url: Url = text.parse().map_err(|error| wrong(format!("{text:?}: {error}")))?;
    let mut options = Options::parse(url.fragment().unwrap_or_default())?;
    let program = options.program()?;
    options.finish()?;
    url.set_fragment(None);
    let source = if is_playlist(url.path()) { Source::Hls { url } } else { Source::Http { url: url.into() } };
    Ok(Input { source, program })
}

fn is_playlist(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    path.ends_with(".m3u8") || path.ends_with(".m3u")
}

fn speed(text: &str) -> Result<Speed, InputError> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    match text.parse() {
        Ok(times) if (1..=MAX_TIMES).contains(&times) => Ok(Speed::Times(times)),
        _ => Err(wrong(format!("speed={text}: 1 to {MAX_TIMES} times real time, or max"))),
    }
}

fn listen(place: &str, options: &mut Options) -> Result<Listen, InputError> {
    let place = place.strip_prefix("//").unwrap_or(place);
    let place = place.strip_prefix('@').unwrap_or(place).trim_end_matches('/');
    let place = if place.starts_with(':') { format!("0.0.0.0{place}") } else { place.to_owned() };
    let addr: SocketAddr = place
        .parse()
        .map_err(|_| wrong(format!("{place:?} is no address and port, such as 239.35.10.1:10000 or 127.0.0.1:5000")))?;
    if addr.port() == 0 {
        return Err(wrong("port 0 receives nothing"));
    }
    let iface = options.take("iface").map(|text| match addr.ip() {
        IpAddr::V4(_) => text.parse().map(Iface::Addr).map_err(|_| wrong(format!("iface={text}: an IPv4 address"))),
        IpAddr::V6(_) => text.parse().map(Iface::Index).map_err(|_| wrong(format!("iface={text}: an index"))),
    });
    let iface = iface.transpose()?;
    if iface.is_some() && !addr.ip().is_multicast() {
        return Err(wrong("iface= goes with a multicast group only"));
    }
    Ok(Listen { addr, iface })
}

/// `key=value` pairs behind the question mark.
struct Options(Vec<(String, String)>);

impl Options {
    fn parse(query: &str) -> Result<Self, InputError> {
        if let Some(text) = query.split('&').find(|text| !text.is_empty() && !text.contains('=')) {
            return Err(wrong(format!("{text:?} is no key=value")));
        }
        // Names of programmes hold blanks, which some write as %20.
        Ok(Self(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()))
    }

    fn take(&mut self, key: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == key)?;
        Some(self.0.remove(at).1)
    }

    fn program(&mut self) -> Result<ProgramSelect, InputError> {
        let Some(text) = self.take("program") else { return Ok(ProgramSelect::First) };
        let no_number = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(ProgramSelect::Name(_)) | Ok(ProgramSelect::Number(0)) if no_number => {
                Err(wrong(format!("program={text}: a programme number is 1 to 65535, a name has letters")))
            }
            Ok(program) => Ok(program),
            Err(never) => match never {},
        }
    }

    fn finish(self) -> Result<(), InputError> {
        match self.0.first() {
            Some((key, _)) => Err(wrong(format!("{key:?} is not known here"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        text.parse::<Input>().unwrap().source
    }

    #[test]
    fn reads_the_forms_that_players_use() {
        let listen = |addr: &str, iface| Listen { addr: addr.parse().unwrap(), iface };
        assert_eq!(source("udp://127.0.0.1:5000"), Source::Udp(listen("127.0.0.1:5000", None)));
        assert_eq!(source("udp://@:5000"), Source::Udp(listen("0.0.0.0:5000", None)));
        let joined = listen("239.35.10.1:10000", Some(Iface::Addr(Ipv4Addr::new(192, 168, 1, 5))));
        assert_eq!(source("rtp://@239.35.10.1:10000?iface=192.168.1.5"), Source::Rtp(joined));
        assert_eq!(source("udp://@[ff15::1]:5000?iface=2"), {
            Source::Udp(listen("[ff15::1]:5000", Some(Iface::Index(2))))
        });
        assert_eq!(source("file:a b.ts"), Source::File { path: "a b.ts".into(), speed: Speed::Times(1) });
        assert_eq!(source("file:///x/a.ts?speed=max"), Source::File { path: "/x/a.ts".into(), speed: Speed::Max });
        assert_eq!(source("http://tuner/auto/v1?x=y"), Source::Http { url: "http://tuner/auto/v1?x=y".into() });
        let playlist = |text: &str| Source::Hls { url: text.parse().unwrap() };
        assert_eq!(source("https://cdn/a/live.M3U8?t=1"), playlist("https://cdn/a/live.M3U8?t=1"));
        assert_eq!(source("file:/x/a.m3u8"), playlist("file:///x/a.m3u8"));
        let program = |text: &str| text.parse::<Input>().unwrap().program;
        assert_eq!(program("http://tuner/mux#program=5"), ProgramSelect::Number(5));
        assert_eq!(program("udp://:5000?program=28106"), ProgramSelect::Number(28_106));
        for text in ["udp://:5000?program=Das Erste", "udp://:5000?program=Das%20Erste"] {
            assert_eq!(program(text), ProgramSelect::Name("Das Erste".into()));
        }
        assert_eq!(program("udp://:5000"), ProgramSelect::First);
    }

    #[test]
    fn refuses_what_would_receive_nothing() {
        for text in [
            "tuner",
            "ftp://x",
            "udp://tuner:5000",
            "udp://127.0.0.1",
            "udp://127.0.0.1:0",
            "udp://127.0.0.1:5000?iface=127.0.0.1",
            "udp://@239.1.1.1:5000?iface=eth0",
            "udp://:5000?program=99999",
            "udp://:5000?speed=1",
            "file:?speed=1",
            "file:a.ts?speed=0",
            "file:a.ts?speed",
            "file:a.m3u8?speed=1",
            "http://tuner/mux#program=0",
            "http://",
        ] {
            assert!(text.parse::<Input>().is_err(), "{text}");
        }
    }
}
