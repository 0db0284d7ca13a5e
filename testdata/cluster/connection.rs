//! How the program speaks to the API server.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Deploy, Ground};
use crate::services::Cluster;

/// Passes bytes on to an address, and counts connections; ends with the process.
fn relay(to: String) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (own, count) = (listener.local_addr().unwrap().to_string(), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            counted.fetch_add(1, Ordering::SeqCst);
            let server = TcpStream::connect(&to).unwrap();
            for (mut from, mut to) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    (own, count)
}

#[test]
fn all_requests_of_a_run_go_over_one_connection() {
    let Some(cluster) = Cluster::shared() else { return };
    let mut deploy = Deploy::bare("connection", Ground::Real(cluster));
    let maps: String = (0..20)
        .map(|n| format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{n}}}\ndata: {{a: '1'}}\n"))
        .collect();
    deploy.sandbox.write(".helm/templates/all.yaml", &maps).commit("maps");
    let text = std::fs::read_to_string(&deploy.kubeconfig).unwrap();
    let (_, rest) = text.split_once("server: 'https://").unwrap();
    let server = rest.split('\'').next().unwrap();
    let (own, count) = relay(server.to_owned());
    let file = deploy.sandbox.home().join("relayed");
    std::fs::write(&file, text.replace(server, &own)).unwrap();
    deploy.kubeconfig = file.display().to_string();
    deploy.run(0, &["apply", "--auto-approve"]);
    // The first two requests are sent at the same time, before it is known that one connection is enough.
    let count = count.load(Ordering::SeqCst);
    assert!((1..=2).contains(&count), "{count}");
}
