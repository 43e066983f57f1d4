//! A schema registry of a few lines, for tests.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What it answers: by path a status and a body.
type Answers = Arc<Mutex<HashMap<String, (u16, String)>>>;

/// For each request its path and its header `authorization`.
type Requests = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// A server that answers until the test ends.
pub struct FakeRegistry {
    pub address: String,
    answers: Answers,
    pub requests: Requests,
}

impl FakeRegistry {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let registry = FakeRegistry { address, answers: Answers::default(), requests: Requests::default() };
        let (answers, requests) = (Arc::clone(&registry.answers), Arc::clone(&registry.requests));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answers, requests) = (Arc::clone(&answers), Arc::clone(&requests));
                // A client that goes away is no matter.
                std::thread::spawn(move || {
                    let _ = serve(stream.unwrap(), &answers, &requests);
                });
            }
        });
        registry
    }

    pub fn answer(&self, path: &str, status: u16, body: impl Into<String>) {
        self.answers.lock().unwrap().insert(path.to_owned(), (status, body.into()));
    }

    /// Knows a schema by its number.
    pub fn schema(&self, id: u32, schema: &str) {
        self.answer(&format!("/schemas/ids/{id}"), 200, serde_json::json!({ "schema": schema }).to_string());
    }
}

fn serve(stream: TcpStream, answers: &Answers, requests: &Requests) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut authorization = None;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            match header.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                    authorization = Some(value.to_owned())
                }
                Some(_) => {}
                None => break,
            }
        }
        requests.lock().unwrap().push((path.clone(), authorization));
        let unknown = (404, r#"{"error_code":40403,"message":"Schema not found"}"#.to_owned());
        let (status, body) = answers.lock().unwrap().get(&path).cloned().unwrap_or(unknown);
        let answer = format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes())?;
    }
}
