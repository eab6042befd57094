//! A provider's HTTP interface on a loopback port, for the runtime's own adapters.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::script::pause;

/// One response: server-sent events (milliseconds to wait, event name, data), or plain JSON.
pub enum Response {
    Events(Vec<(u64, Option<&'static str>, String)>),
    Json(u64, Value),
}

/// Answers the requests in order; returns the address to give to the adapter.
pub async fn serve(responses: Vec<Response>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let address = listener.local_addr().expect("address");
    let queue = Arc::new(Mutex::new(VecDeque::from(responses)));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let response = queue.lock().unwrap().pop_front();
            match response {
                Some(response) => tokio::spawn(answer(socket, response)),
                None => crate::common::fail("the fake API has no response left"),
            };
        }
    });
    format!("http://{address}/v1")
}

async fn answer(mut socket: TcpStream, response: Response) {
    read_request(&mut socket).await;
    match response {
        Response::Json(wait, body) => {
            pause(wait).await;
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = socket.write_all((head + &body).as_bytes()).await;
        }
        Response::Events(events) => {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
            let _ = socket.write_all(head.as_bytes()).await;
            for (wait, name, data) in events {
                pause(wait).await;
                let name = name.map(|n| format!("event: {n}\n")).unwrap_or_default();
                let _ = socket.write_all(format!("{name}data: {data}\n\n").as_bytes()).await;
            }
        }
    }
    let _ = socket.shutdown().await;
}

/// Head and body, so that the adapter is never cut off while it still sends.
async fn read_request(socket: &mut TcpStream) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        if let Some(end) = text.find("\r\n\r\n") {
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))
                .and_then(|n| n.trim().parse::<usize>().ok())
                .unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                return;
            }
        }
        match socket.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
        }
    }
}
