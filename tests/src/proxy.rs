//! A wire between a server and its database that can be cut and mended.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes connections on to another address, until it is cut.
pub struct Proxy {
    address: SocketAddr,
    intact: watch::Sender<bool>,
}

impl Proxy {
    /// Listens on a free loopback port and passes connections on to `target`.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (intact, wire) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, target, wire.clone()));
            }
        });
        Self { address, intact }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks all connections and refuses new ones.
    pub fn cut(&self) {
        self.intact.send_replace(false);
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.intact.send_replace(true);
    }
}

async fn pass_on(mut client: TcpStream, target: SocketAddr, mut wire: watch::Receiver<bool>) {
    if !*wire.borrow_and_update() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = wire.wait_for(|intact| !intact) => {}
    }
}
