//! ADD of an address: fetched by the builder, from a server of our own.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use sha2::{Digest as _, Sha256};

use super::builds::Built;

/// Serves a text under every path but the first time, when it is busy; returns the address.
fn serve(text: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let answer = if number == 0 {
                "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
            } else {
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len())
            };
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

fn told(ran: &std::process::Output) -> String {
    String::from_utf8_lossy(&[ran.stdout.clone(), ran.stderr.clone()].concat()).into_owned()
}

#[test]
fn an_address_is_fetched_and_compared_with_its_checksum() {
    let address = serve("fetched\n");
    let digest = hex::encode(Sha256::digest(b"fetched\n"));
    let built = Built::dockerfile(&format!(
        "FROM busybox:test\nADD {address}/dir/file.txt?x=1 /to/\nADD --checksum=sha256:{digest} --chmod=755 {address}/f /name\n"
    ));
    let ran = built.build(&[]);
    assert!(ran.status.success(), "{}", told(&ran));
    let listed = built.list();
    assert!(listed.contains("to/file.txt f 600 0:0 \"fetched\\n\""), "{listed}");
    assert!(listed.contains("name f 755 0:0 \"fetched\\n\""), "{listed}");
}

#[test]
fn another_content_is_refused_and_so_are_repositories() {
    let address = serve("fetched\n");
    let other = "0".repeat(64);
    let built = Built::dockerfile(&format!("FROM busybox:test\nADD --checksum=sha256:{other} {address}/f /name\n"));
    let text = told(&built.build(&[]));
    assert!(text.contains(&format!("which is not the `--checksum` sha256:{other}")), "{text}");
    let built = Built::dockerfile("FROM busybox:test\nADD https://example.com/a/b.git /src\n");
    assert!(told(&built.build(&[])).contains("ADD of a git repository does not work yet"));
    let built = Built::dockerfile("FROM busybox:test\nADD http://127.0.0.1:1/f /src\n");
    let text = told(&built.build(&[]));
    assert!(text.contains("http://127.0.0.1:1/f cannot be fetched, 5 times"), "{text}");
}
