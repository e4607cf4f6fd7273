//! Opening a connection: lookup, TCP, TLS, all within one limit.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::io::Socket;
use crate::origin::Origin;
use crate::tls::Tls;
use crate::watchdog::within;
use crate::wire::Wire;

/// Opens a connection: one of its origin's, or a `fresh` one that is used once.
///
/// Where there is no descriptor left, kept connections give theirs.
pub(crate) async fn connect(
    context: &Context,
    origin: &Arc<Origin>,
    fresh: bool,
) -> Result<Wire, Failure> {
    match connect_once(context, origin, fresh).await {
        Err(failure) if failure.kind == Kind::Exhausted && context.pool.clear() => {
            connect_once(context, origin, fresh).await
        }
        result => result,
    }
}

async fn connect_once(
    context: &Context,
    origin: &Arc<Origin>,
    fresh: bool,
) -> Result<Wire, Failure> {
    let opened = open(origin, fresh, &context.tls);
    within(context.config.connect_timeout, opened)
        .await
        .unwrap_or_else(|limit| {
            let detail = format!("no connection within {} s", limit.as_secs_f64());
            Err(Failure::new(Kind::ConnectTimeout, detail))
        })
}

async fn open(origin: &Arc<Origin>, fresh: bool, tls: &Tls) -> Result<Wire, Failure> {
    let stream = match origin.address() {
        Some(address) => TcpStream::connect(address).await,
        None => TcpStream::connect((&*origin.host, origin.port)).await,
    };
    let stream = stream.map_err(|error| Failure::of_connect(&error))?;
    stream
        .set_nodelay(true)
        .map_err(|error| Failure::of_connect(&error))?;
    let socket = if origin.tls {
        secure(origin, tls, stream).await?
    } else {
        Socket::Plain(stream)
    };
    Wire::handshake(socket, (!fresh).then(|| Arc::clone(origin))).await
}

async fn secure(origin: &Origin, tls: &Tls, stream: TcpStream) -> Result<Socket, Failure> {
    let failure = |error: &dyn std::fmt::Display| Failure::new(Kind::Tls, error.to_string());
    let name = ServerName::try_from(origin.host.to_string()).map_err(|error| failure(&error))?;
    let connector = tls.connector().await?;
    let stream = connector
        .connect(name, stream)
        .await
        .map_err(|error| failure(&error))?;
    Ok(Socket::Tls(Box::new(stream)))
}
