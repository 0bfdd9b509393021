//! A wire between two programs that can be cut and mended, or loses answers.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, copy, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the wire does with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    Intact,
    Cut,
    /// Requests come through; each connection breaks when its first answer begins.
    LosesAnswers,
}

/// Passes connections on to another address, until it is cut.
pub struct Proxy {
    address: SocketAddr,
    wire: watch::Sender<Wire>,
}

impl Proxy {
    /// Listens on a free loopback port and passes connections on to `target`.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (wire, now) = watch::channel(Wire::Intact);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, target, now.clone()));
            }
        });
        Self { address, wire }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks all connections and refuses new ones.
    pub fn cut(&self) {
        self.wire.send_replace(Wire::Cut);
    }

    /// Breaks all connections, and new ones as soon as they are answered.
    pub fn lose_answers(&self) {
        self.wire.send_replace(Wire::LosesAnswers);
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.wire.send_replace(Wire::Intact);
    }
}

async fn pass_on(mut client: TcpStream, target: SocketAddr, mut wire: watch::Receiver<Wire>) {
    let now = *wire.borrow_and_update();
    if now == Wire::Cut {
        return;
    }
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    let passing = async {
        if now == Wire::Intact {
            let _ = copy_bidirectional(&mut client, &mut server).await;
        } else {
            let ((mut asks, _), (mut answers, mut hears)) = (client.split(), server.split());
            tokio::select! { _ = copy(&mut asks, &mut hears) => {}, _ = answers.read_u8() => {} }
        }
    };
    tokio::select! {
        () = passing => {}
        _ = wire.wait_for(|wire| *wire != now) => {}
    }
}
