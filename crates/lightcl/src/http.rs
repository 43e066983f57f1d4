//! `/metrics`, `/healthz` and `/readyz` over HTTP, on a thread of its own.

use crate::meters;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use lightcl_core::{Error, Result};
use lightcl_kafka::Health;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::fmt::Write;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::oneshot;

/// Upper ends of the buckets of times: from a slice of a few rows to a commit that hangs.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// Time between two tidyings of the recorder.
const UPKEEP: Duration = Duration::from_secs(5);

/// A server that answers until it is dropped.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens, and records what is measured from now on. `/healthz` says 503 when `health` has been silent for longer than
    /// `max_silence`; without one it is live as long as it answers.
    ///
    /// # Errors
    /// When the address cannot be listened on, or another recorder is installed.
    pub fn start(listen: &str, health: Arc<Health>, max_silence: Option<Duration>) -> Result<Server> {
        let listener = TcpListener::bind(listen).map_err(|error| {
            let why = match error.kind() {
                ErrorKind::AddrInUse => "another program listens there; stop it, or choose another port",
                ErrorKind::PermissionDenied => "this user may not listen there; choose a port above 1023",
                _ => "is it an address of this machine?",
            };
            Error::user(format!("cannot listen on metrics.listen = \"{listen}\": {why}")).caused_by(error)
        })?;
        let failed = |error: std::io::Error| Error::external("cannot serve metrics").caused_by(error);
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let answers = Arc::new(Answers { handle: recorder()?, health, max_silence });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            runtime.block_on(async move {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                let upkeep = answers.handle.clone();
                tokio::spawn(async move {
                    loop {
                        tokio::time::sleep(UPKEEP).await;
                        upkeep.run_upkeep();
                    }
                });
                tokio::spawn(async move { axum::serve(listener, router(answers)).await });
                // Whoever is still reading an answer then is cut off.
                let _ = stopped.await;
            });
        };
        let thread = thread::Builder::new().name("http".to_owned()).spawn(serve).map_err(failed)?;
        log::info!(address:% = address; "metrics and health at http://{address}");
        Ok(Server { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens: the port that was found where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A thread that has ended needs no word.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn recorder() -> Result<PrometheusHandle> {
    let failed = |error: String| Error::internal("cannot record what is measured").caused_by(error);
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .map_err(|error| failed(error.to_string()))?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|error| failed(error.to_string()))?;
    meters::describe();
    Ok(handle)
}

struct Answers {
    handle: PrometheusHandle,
    health: Arc<Health>,
    max_silence: Option<Duration>,
}

fn router(answers: Arc<Answers>) -> Router {
    let on = |answer: fn(&Answers) -> Response| {
        let answers = Arc::clone(&answers);
        get(move || {
            let answers = Arc::clone(&answers);
            async move { answer(&answers) }
        })
    };
    Router::new()
        .route("/", on(|_| text(StatusCode::OK, "lightcl: /metrics /healthz /readyz\n".to_owned())))
        .route("/metrics", on(Answers::metrics))
        .route("/healthz", on(Answers::health))
        .route("/readyz", on(Answers::readiness))
}

impl Answers {
    fn metrics(&self) -> Response {
        ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], self.handle.render()).into_response()
    }

    fn health(&self) -> Response {
        match self.max_silence.filter(|most| !self.health.is_live(*most)) {
            Some(most) => {
                let silence = self.health.silence().as_secs();
                let message = format!("no progress for {silence} s, and at most {} s are allowed\n", most.as_secs());
                text(StatusCode::SERVICE_UNAVAILABLE, self.with_stopped(message))
            }
            None => text(StatusCode::OK, self.with_stopped("live\n".to_owned())),
        }
    }

    fn readiness(&self) -> Response {
        match self.health.is_ready() {
            true => text(StatusCode::OK, self.with_stopped("ready\n".to_owned())),
            false => {
                let message = "not ready: state is not restored, or nothing is assigned\n".to_owned();
                text(StatusCode::SERVICE_UNAVAILABLE, self.with_stopped(message))
            }
        }
    }

    /// Partitions that stopped do not make the others ill; whoever looks should see them.
    fn with_stopped(&self, mut message: String) -> String {
        for (unit, reason) in self.health.stopped() {
            // Writing to a String cannot fail.
            let _ = writeln!(message, "stopped: {unit}: {reason}");
        }
        message
    }
}

fn text(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")], body)
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(max_silence: Option<Duration>) -> Answers {
        let handle = PrometheusBuilder::new().build_recorder().handle();
        Answers { handle, health: Arc::new(Health::new()), max_silence }
    }

    #[test]
    fn silence_is_an_illness_where_there_is_a_limit_to_it() {
        let limited = answers(Some(Duration::ZERO));
        thread::sleep(Duration::from_millis(5));
        assert_eq!(limited.health().status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answers(None).health().status(), StatusCode::OK);
        assert_eq!(answers(Some(Duration::from_secs(60))).health().status(), StatusCode::OK);
    }

    #[test]
    fn what_has_stopped_is_told_and_makes_nobody_ill() {
        let answers = answers(None);
        assert_eq!(answers.readiness().status(), StatusCode::SERVICE_UNAVAILABLE);
        answers.health.set_ready(true);
        answers.health.stop_unit("samples-3", "its records are gone");
        assert_eq!((answers.readiness().status(), answers.health().status()), (StatusCode::OK, StatusCode::OK));
        assert_eq!(answers.with_stopped("live\n".to_owned()), "live\nstopped: samples-3: its records are gone\n");
    }
}
