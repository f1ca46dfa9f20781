use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse as _;

use super::super::{Capture, Source};
use super::*;

/// Reached only when something is broken.
const PATIENCE: Duration = Duration::from_secs(60);

fn capture(url: &str) -> Capture {
    Capture::start(Source::Hls { url: url.parse().unwrap() }).unwrap()
}

/// Everything up to the end of the input, and what was said on the way.
fn to_the_end(capture: &Capture) -> (String, Vec<String>) {
    let (mut bytes, mut troubles) = (Vec::new(), Vec::new());
    loop {
        match capture.blocks().recv_timeout(PATIENCE).expect("the reader goes on") {
            Block::Bytes(block) => bytes.extend(block),
            Block::Trouble(text) => troubles.push(text),
            Block::End => return (String::from_utf8(bytes).unwrap(), troubles),
        }
    }
}

fn file_playlist(folder: &Path, text: &str) -> String {
    std::fs::write(folder.join("a.m3u8"), format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n{text}")).unwrap();
    Url::from_file_path(folder.join("a.m3u8")).unwrap().into()
}

#[test]
fn parts_of_a_file_are_joined_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("all.ts"), "0123456789").unwrap();
    let text = "#EXTINF:1,\n#EXT-X-BYTERANGE:3@2\nall.ts\n#EXTINF:1,\n#EXT-X-BYTERANGE:2\nall.ts\n\
                #EXTINF:1,\nall.ts\n#EXT-X-ENDLIST\n";
    let capture = capture(&file_playlist(folder.path(), text));
    assert_eq!(to_the_end(&capture), ("23456".to_owned() + "0123456789", vec![]));
}

#[test]
fn what_cannot_be_recorded_is_refused_for_good() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("1.ts"), "1").unwrap();
    for (tag, reason) in
        [("#EXT-X-KEY:METHOD=AES-128,URI=\"k\"", "encrypted"), ("#EXT-X-MAP:URI=\"init.mp4\"", "fragmented MP4")]
    {
        let url = file_playlist(folder.path(), &format!("{tag}\n#EXTINF:1,\n1.ts\n#EXT-X-ENDLIST\n"));
        let capture = capture(&url);
        let first = capture.blocks().recv_timeout(PATIENCE);
        assert!(matches!(&first, Ok(Block::Trouble(text)) if text.contains(reason)), "{first:?}");
        assert!(capture.blocks().recv_timeout(PATIENCE).is_err(), "it does not try again");
    }
}

/// A server whose answers a test changes: each path has a list, of which the last one stays.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<BTreeMap<String, Vec<&'static str>>>>);

impl Server {
    fn start(pages: &[(&str, &[&'static str])]) -> (Self, String, tokio::runtime::Runtime) {
        let pages = pages.iter().map(|(path, answers)| ((*path).to_owned(), answers.to_vec())).collect();
        let server = Self(Arc::new(Mutex::new(pages)));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(server.clone());
        runtime.spawn(async move { axum::serve(listener, app).await });
        (server, base, runtime)
    }

    fn next(&self, path: &str) -> Option<&'static str> {
        let mut pages = self.0.lock().unwrap();
        let answers = pages.get_mut(path)?;
        if answers.len() > 1 { Some(answers.remove(0)) } else { answers.first().copied() }
    }
}

async fn answer(State(server): State<Server>, uri: Uri) -> axum::response::Response {
    match server.next(uri.path()) {
        Some("broken") => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(text) => text.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

#[test]
fn a_live_playlist_is_followed_to_its_end_across_failures() {
    let master = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlow.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=2\nhigh/a.m3u8\n";
    let first = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:1,\n7.ts\n#EXTINF:1,\n8.ts\n";
    let second = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:8\n#EXTINF:1,\n8.ts\n#EXTINF:1,\n9.ts\n\
                  #EXT-X-ENDLIST\n";
    let (_server, base, _runtime) = Server::start(&[
        ("/live.m3u8", &[master]),
        ("/high/a.m3u8", &[first, first, "broken", second]),
        ("/high/7.ts", &["seven "]),
        ("/high/8.ts", &["broken", "eight "]),
        ("/high/9.ts", &["nine"]),
    ]);
    let capture = capture(&format!("{base}/live.m3u8"));
    let (text, troubles) = to_the_end(&capture);
    assert_eq!(text, "seven eight nine");
    assert_eq!(troubles.len(), 2, "{troubles:?}");
}

#[test]
fn a_playlist_from_the_network_reads_no_files_of_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let list = format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{}\n#EXT-X-ENDLIST\n", secret.display());
    let list: &'static str = Box::leak(list.into_boxed_str());
    let (_server, base, _runtime) = Server::start(&[("/a.m3u8", &[list])]);
    let capture = capture(&format!("{base}/a.m3u8"));
    let first = capture.blocks().recv_timeout(PATIENCE);
    assert!(matches!(&first, Ok(Block::Trouble(text)) if text.contains("no address of a segment")), "{first:?}");
}
