//! What a client still sends when its answer is there: it is read to its end, or the connection ends and the answer says
//! so (RFC 9112, 9.6). Otherwise the next request on the connection, by somebody who did nothing wrong, would get none.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Version, header};
use axum::response::Response;
use futures::StreamExt;
use futures::stream::{self, Fuse};

use crate::extract::BODY_BYTES_MAX;

/// How long a client may take to send the rest.
const PATIENCE: Duration = Duration::from_secs(1);

type Frames = Arc<Mutex<Fuse<BodyDataStream>>>;

/// The body of a request, as far as nobody has read it.
pub(crate) struct Unread {
    frames: Frames,
    /// The client sends nothing before it is asked to, and may never.
    waits_to_be_asked: bool,
}

impl Unread {
    /// The request, and what will be left of its body; `None` when it has none.
    pub(crate) fn of(request: Request) -> (Request, Option<Self>) {
        if request.body().is_end_stream() || request.version() > Version::HTTP_11 {
            return (request, None);
        }
        let waits_to_be_asked = request.headers().contains_key(header::EXPECT);
        let (parts, body) = request.into_parts();
        let frames: Frames = Arc::new(Mutex::new(body.into_data_stream().fuse()));
        let unread = Self { frames: Arc::clone(&frames), waits_to_be_asked };
        (Request::from_parts(parts, body_of(frames)), Some(unread))
    }

    /// Makes `response` one after which the connection can be used, or says that it cannot.
    pub(crate) async fn end(self, response: &mut Response) {
        let ended = if self.waits_to_be_asked { self.has_ended() } else { self.read_to_the_end().await };
        if !ended {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }

    fn has_ended(&self) -> bool {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner).is_done()
    }

    async fn read_to_the_end(self) -> bool {
        let rest = to_bytes(body_of(self.frames), BODY_BYTES_MAX);
        tokio::time::timeout(PATIENCE, rest).await.is_ok_and(|rest| rest.is_ok())
    }
}

fn body_of(frames: Frames) -> Body {
    Body::from_stream(stream::poll_fn(move |context| next(&frames, context)))
}

fn next(frames: &Frames, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, axum::Error>>> {
    frames.lock().unwrap_or_else(PoisonError::into_inner).poll_next_unpin(context)
}
