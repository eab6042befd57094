//! What both versions share: the recorder itself. Everything named `rt::` is the version's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::rt;
use crate::scenarios;

/// Written by a child process that ended in the middle of a run, as planned.
pub const CRASHED: i32 = 86;

/// The brokers to record from. Without them only the in-process channel is recorded.
#[derive(Clone)]
pub struct Brokers {
    pub redis_url: String,
    pub nats_url: String,
}

/// The key and the subject that the runtime's publishers use by default.
pub const REDIS_KEY: &str = "behest:events";
pub const NATS_SUBJECT: &str = "behest.events";
const NATS_STREAM: &str = "BEHEST";

/// What a scenario gives the runtime.
pub struct Stage {
    pub providers: Vec<Arc<dyn rt::ChatProvider>>,
    pub tools: Vec<Arc<dyn rt::Tool>>,
    pub policy: rt::RuntimePolicy,
    pub snapshots: Option<PathBuf>,
}

/// A runtime whose events are being recorded.
pub struct Live {
    pub runtime: Arc<rt::AgentRuntime>,
    pub log: Log,
    pub side: rt::Side,
    reader: tokio::task::JoinHandle<()>,
}

/// Events in the order of the in-process channel: run id and JSON.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<(String, String)>>>);

impl Log {
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|(_, line)| line.clone()).collect()
    }
    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
    /// Run ids in the order in which the runs were first seen.
    pub fn runs(&self) -> Vec<String> {
        let mut runs: Vec<String> = Vec::new();
        for (run, _) in self.0.lock().unwrap().iter() {
            if !runs.contains(run) {
                runs.push(run.clone());
            }
        }
        runs
    }
}

/// Counts what the publishers have sent. Each event is published from a task of its own, and the
/// NATS publisher leaves its message in the client's buffer: a process that ends right after its
/// run loses the last events.
#[derive(Clone)]
pub struct Sent {
    count: Arc<AtomicUsize>,
    nats: async_nats::Client,
}

impl Sent {
    pub async fn new(brokers: &Brokers) -> Self {
        let nats = async_nats::connect(&brokers.nats_url).await.expect("nats connection");
        Self { count: Arc::default(), nats }
    }
    pub fn jetstream(&self) -> async_nats::jetstream::Context {
        async_nats::jetstream::new(self.nats.clone())
    }
    pub fn count(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
    }
    pub async fn all(&self, events: usize) {
        for _ in 0..800 {
            if self.count.load(Ordering::SeqCst) >= events {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        self.nats.flush().await.expect("nats flush");
    }
}

impl Live {
    pub async fn start(stage: Stage, brokers: Option<&Brokers>) -> Self {
        let (runtime, side) = rt::start(stage, brokers).await;
        let log = Log::default();
        let mut events = runtime.subscribe();
        let sink = log.clone();
        // The channel holds 256 events and drops the oldest for a slow reader: this task does
        // nothing but read, and a lost event spoils the recording.
        let reader = tokio::spawn(async move {
            loop {
                match events.recv().await {
                    Ok(event) => {
                        let line = serde_json::to_string(&event).expect("event as JSON");
                        sink.0.lock().unwrap().push((event.run_id().to_string(), line));
                    }
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => break,
                    Err(error) => fail(&format!("the recorder lost events: {error}")),
                }
            }
        });
        Self { runtime, log, side, reader }
    }

    /// Waits until everything the runtime emitted has been read here and by the bridges.
    pub async fn finish(self) -> (Log, rt::Side) {
        let Self { runtime, log, mut side, reader } = self;
        drop(runtime); // closes the channel once no run holds the runtime any more
        reader.await.expect("reader");
        rt::settle(&mut side).await;
        if let Some(sent) = &side.sent {
            sent.all(log.len()).await;
        }
        (log, side)
    }
}

/// What a scenario leaves behind: lines per transport, and what the calls returned.
#[derive(Default)]
pub struct Recording {
    pub files: BTreeMap<String, Vec<String>>,
    pub results: Vec<serde_json::Value>,
}

impl Recording {
    pub fn add(&mut self, transport: &str, lines: Vec<String>) {
        self.files.entry(transport.to_owned()).or_default().extend(lines);
    }
}

pub fn fail(message: &str) -> ! {
    eprintln!("recorder: {message}");
    std::process::exit(1)
}

/// Reads back what the runtime's own publishers wrote.
pub struct BrokerReader {
    redis: redis::aio::MultiplexedConnection,
    stream: async_nats::jetstream::stream::Stream,
    rooms: Arc<Mutex<Vec<(String, String)>>>,
}

impl BrokerReader {
    pub async fn start(brokers: &Brokers) -> Self {
        let mut redis = redis::Client::open(brokers.redis_url.as_str())
            .expect("redis url")
            .get_multiplexed_async_connection()
            .await
            .expect("redis connection");
        // The server is the recorder's own: every scenario starts with an empty one.
        let _: () = redis::cmd("FLUSHALL").query_async(&mut redis).await.expect("FLUSHALL");
        let client = async_nats::connect(&brokers.nats_url).await.expect("nats connection");
        let jetstream = async_nats::jetstream::new(client.clone());
        let stream = jetstream
            .get_or_create_stream(async_nats::jetstream::stream::Config {
                name: NATS_STREAM.to_owned(),
                subjects: vec![NATS_SUBJECT.to_owned()],
                storage: async_nats::jetstream::stream::StorageType::Memory,
                ..Default::default()
            })
            .await
            .expect("nats stream");
        stream.purge().await.expect("nats purge");
        // The rooms' streams keep nothing without a consumer, but what is published into them
        // passes by here in the same order.
        let rooms = Arc::new(Mutex::new(Vec::new()));
        let mut passing = client.subscribe("behest.rt.>").await.expect("nats subscribe");
        client.flush().await.expect("nats flush");
        let sink = Arc::clone(&rooms);
        tokio::spawn(async move {
            use futures_util::StreamExt as _;
            while let Some(message) = passing.next().await {
                let payload = String::from_utf8(message.payload.to_vec()).expect("UTF-8");
                sink.lock().unwrap().push((message.subject.to_string(), payload));
            }
        });
        Self { redis, stream, rooms }
    }

    pub async fn collect(&mut self, recording: &mut Recording, runs: &[String], events: usize) {
        let mut got = Vec::new();
        wait(&format!("{events} entries in Redis"), async || {
            let rows: Vec<(String, BTreeMap<String, String>)> = redis::cmd("XRANGE")
                .arg(REDIS_KEY)
                .arg("-")
                .arg("+")
                .query_async(&mut self.redis)
                .await
                .expect("XRANGE");
            got = rows.into_iter().map(|(_, mut fields)| fields.remove("event").expect("field event")).collect();
            got.len() >= events
        })
        .await;
        recording.add("redis", got);

        let mut last = (0, 0);
        wait(&format!("{events} messages in JetStream"), async || {
            let state = self.stream.info().await.expect("stream info").state.clone();
            last = (state.first_sequence, state.last_sequence);
            state.messages >= events as u64
        })
        .await;
        let mut got = Vec::new();
        for sequence in last.0..=last.1 {
            let message = self.stream.get_raw_message(sequence).await.expect("raw message");
            got.push(String::from_utf8(message.payload.to_vec()).expect("UTF-8"));
        }
        recording.add("nats", got);

        if !rt::HAS_ENVELOPE {
            return;
        }
        let mut got = Vec::new();
        for run in runs {
            let rows: Vec<(String, BTreeMap<String, String>)> = redis::cmd("XRANGE")
                .arg(format!("run:{run}"))
                .arg("-")
                .arg("+")
                .query_async(&mut self.redis)
                .await
                .expect("XRANGE");
            got.extend(rows.into_iter().map(|(_, mut fields)| fields.remove("data").expect("field data")));
        }
        recording.add("redis-run", got);

        let in_rooms = |kind: &str| -> Vec<(String, String)> {
            let prefix = format!("behest.rt.{kind}.");
            self.rooms.lock().unwrap().iter().filter(|(subject, _)| subject.starts_with(&prefix)).cloned().collect()
        };
        let mut last_seen = usize::MAX;
        wait("the rooms to fall silent", async || {
            tokio::time::sleep(Duration::from_millis(150)).await;
            let now = in_rooms("run").len() + in_rooms("session").len();
            std::mem::replace(&mut last_seen, now) == now
        })
        .await;
        let rooms = in_rooms("run");
        let mut got = Vec::new();
        for run in runs {
            let subject = format!("behest.rt.run.{run}");
            got.extend(rooms.iter().filter(|(s, _)| *s == subject).map(|(_, payload)| payload.clone()));
        }
        recording.add("nats-run", got);
        let sessions: Vec<String> = in_rooms("session").into_iter().map(|(_, payload)| payload).collect();
        let mut known: Vec<String> =
            rooms.into_iter().map(|(_, p)| p).filter(|p| !p.contains("\"session_id\":null,\"event\"")).collect();
        let mut again = sessions.clone();
        known.sort();
        again.sort();
        if known != again {
            fail("the session room got something else than the run room");
        }
    }
}

/// Polls until the condition holds; gives up loudly.
pub async fn wait(what: &str, mut done: impl AsyncFnMut() -> bool) {
    for _ in 0..800 {
        if done().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    fail(&format!("waited in vain for {what}"));
}

/// One run of the runtime, with what came back noted for `results.json`.
pub async fn run(runtime: &Arc<rt::AgentRuntime>, request: rt::RunRequest) -> serde_json::Value {
    let run_id = rt::RunId::new();
    let answer = runtime.run(request.with_run_id(run_id)).await;
    note(runtime, "run", run_id, answer).await
}

pub async fn resume(runtime: &Arc<rt::AgentRuntime>, run_id: rt::RunId) -> serde_json::Value {
    let answer = runtime.resume(run_id).await;
    note(runtime, "resume", run_id, answer).await
}

async fn note(
    runtime: &Arc<rt::AgentRuntime>,
    call: &str,
    run_id: rt::RunId,
    answer: Result<rt::RunOutput, rt::RuntimeError>,
) -> serde_json::Value {
    let output = match answer {
        Ok(output) => output,
        Err(error) => return serde_json::json!({ "run_id": run_id, "call": call, "error": error.to_string() }),
    };
    // The events do not say which tool call a message answers; the store does.
    let messages = runtime.store().sessions().list_messages(&output.session_id).await.expect("messages");
    let tools: Vec<_> = messages.iter().filter_map(|m| Some((m.id.to_string(), m.tool_call_id.clone()?))).collect();
    serde_json::json!({
        "run_id": run_id, "call": call, "finish_reason": output.finish_reason, "iterations": output.iterations,
        "total_usage": output.total_usage, "tool_messages": tools,
    })
}

pub fn write(path: &Path, lines: &[String]) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("create folder");
    let mut text = lines.join("\n");
    text.push('\n');
    std::fs::write(path, text).expect("write recording");
}

/// `record OUT [--redis URL --nats URL] [SCENARIO...]`, or `record --part STATE ...` as a child.
pub fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let mut option = |name: &str| {
        let at = args.iter().position(|a| a == name)?;
        args.remove(at);
        Some(args.remove(at))
    };
    let redis_url = option("--redis");
    let nats_url = option("--nats");
    let part = option("--part");
    let state = option("--state").map(PathBuf::from);
    let brokers = match (redis_url, nats_url) {
        (Some(redis_url), Some(nats_url)) => Some(Brokers { redis_url, nats_url }),
        (None, None) => None,
        _ => fail("--redis and --nats belong together"),
    };
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("tokio");
    tokio.block_on(async {
        if let Some(part) = part {
            scenarios::part(&part, &state.expect("--state"), brokers.as_ref()).await;
            return;
        }
        let out =
            PathBuf::from(if args.is_empty() { fail("no output folder") } else { args.remove(0) }).join(rt::VERSION);
        let mut results = serde_json::Map::new();
        for name in scenarios::NAMES {
            if !args.is_empty() && !args.iter().any(|a| a == name) {
                continue;
            }
            if !scenarios::plays(name) {
                continue;
            }
            let mut recording = None;
            for _ in 0..5 {
                recording = record(name, brokers.as_ref()).await;
                if recording.is_some() {
                    break;
                }
            }
            let recording =
                recording.unwrap_or_else(|| fail(&format!("{name}: the bridge loses events, the machine is too busy")));
            for (transport, lines) in &recording.files {
                write(&out.join(transport).join(format!("{name}.ndjson")), lines);
            }
            println!("{} {name}: {} events", rt::VERSION, recording.files[""].len());
            results.insert((*name).to_owned(), recording.results.into());
        }
        write(&out.join("results.json"), &pretty(&results));
    });
}

/// JSON with a line for each call.
fn pretty(results: &serde_json::Map<String, serde_json::Value>) -> Vec<String> {
    let scenario = |(name, calls): (&String, &serde_json::Value)| {
        let calls: Vec<String> = calls.as_array().expect("calls").iter().map(|call| format!("    {call}")).collect();
        format!("  \"{name}\": [\n{}\n  ]", calls.join(",\n"))
    };
    vec!["{".to_owned(), results.iter().map(scenario).collect::<Vec<_>>().join(",\n"), "}".to_owned()]
}

/// One scenario; nothing when the recording is incomplete.
async fn record(name: &str, brokers: Option<&Brokers>) -> Option<Recording> {
    let brokers = brokers.filter(|_| scenarios::uses_brokers(name));
    let mut reader = match brokers {
        Some(brokers) => Some(BrokerReader::start(brokers).await),
        None => None,
    };
    let (mut recording, runs) = scenarios::play(name, brokers).await;
    let events = recording.files[""].len();
    if let Some(reader) = &mut reader {
        reader.collect(&mut recording, &runs, events).await;
        // The runtime's bridge is slow and loses events when it falls 256 behind. That is real, but
        // not what is recorded here.
        if recording.files.get("redis-run").is_some_and(|lines| lines.len() < events) {
            return None;
        }
    }
    Some(recording)
}
