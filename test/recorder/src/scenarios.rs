//! The scenarios, the same for both versions.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{self, Brokers, CRASHED, Live, Recording, Stage};
use crate::fake_api::{Response, serve};
use crate::rt;
use crate::script::{Answer, Crash, Provider, Reply, Tool, call, pause, say};

pub const NAMES: &[&str] = &[
    "plain-answer",
    "streamed-answer",
    "parallel-tools",
    "failing-tool",
    "failing-tool-abort",
    "tool-timeout",
    "unknown-tool",
    "provider-error",
    "provider-error-late",
    "stream-fallback",
    "stream-stall",
    "iteration-limit",
    "token-budget",
    "doom-loop",
    "compaction",
    "context-overflow",
    "compaction-circuit",
    "truncated-output",
    "truncated-final",
    "unknown-finish",
    "cache-tokens",
    "one-session",
    "resume",
    "resume-model",
    "resume-stuck",
    "anthropic-adapter",
    "anthropic-adapter-fallback",
    "openai-adapter",
    "fifty-runs",
];

/// Cache tokens came with 0.5.
pub fn plays(name: &str) -> bool {
    name != "cache-tokens" || rt::cached_usage(1, 1, 1, 1, 1).is_some()
}

/// A run that resumes into an endless loop would only flood them.
pub fn uses_brokers(name: &str) -> bool {
    name != "resume-stuck"
}

const SONNET: (&str, &str) = ("anthropic", "claude-sonnet-4-5");
const GPT: (&str, &str) = ("openai", "gpt-4o");

fn ask(model: (&str, &str), input: &str) -> rt::RunRequest {
    rt::RunRequest::new(rt::ProviderId::new(model.0), rt::ModelName::new(model.1), input)
}

fn stage(provider: Provider, tools: Vec<Tool>) -> Stage {
    Stage {
        providers: vec![provider.shared()],
        tools: tools.into_iter().map(Tool::shared).collect(),
        policy: rt::RuntimePolicy::new(),
        snapshots: None,
    }
}

impl Stage {
    fn policy(mut self, change: impl FnOnce(rt::RuntimePolicy) -> rt::RuntimePolicy) -> Self {
        self.policy = change(self.policy);
        self
    }
    fn and(mut self, provider: Provider) -> Self {
        self.providers.push(provider.shared());
        self
    }
}

fn answers(list: Vec<Answer>) -> Vec<Reply> {
    list.into_iter().map(Reply::Answer).collect()
}

fn provider_id(model: (&str, &str)) -> rt::ProviderId {
    rt::ProviderId::new(model.0)
}

const FORECAST: &str = "Zürich will see light rain until about 15:00 and then clear up, with 18 °C at most and \
    a fresh breeze from the west 🌦️.\n\nFor the walk along the lake I would take a jacket; \"waterproof\" is \
    better than warm. Tomorrow looks dry, so if the plan can wait one day, Friday morning is the better choice.";

fn weather_tools() -> Vec<Tool> {
    let city = json!({ "city": { "type": "string" } });
    vec![
        Tool::new("get_weather", city.clone(), 180, Ok(json!({ "celsius": 17.5, "sky": "light rain" }))).parallel(),
        Tool::new("get_air_quality", city.clone(), 95, Ok(json!({ "index": 2 }))).parallel(),
        Tool::new("search_trains", json!({ "from": { "type": "string" }, "to": { "type": "string" } }), 260, {
            Ok(json!({ "trains": [{ "departs": "09:32", "minutes": 83 }, { "departs": "10:02", "minutes": 56 }] }))
        })
        .parallel(),
    ]
}

fn order_tools() -> Vec<Tool> {
    // More than a double can hold, and a number that is not whole: both are ordinary in arguments.
    let properties = json!({ "order_id": { "type": "integer" } });
    vec![
        Tool::new(
            "find_order",
            properties.clone(),
            70,
            Ok(json!({ "order_id": 9007199254740993_u64, "total": 49.90 })),
        ),
        Tool::new("refund_order", properties.clone(), 140, Err("payment service answered 503")),
        Tool::new("watch_order", properties, 20_000, Ok(json!({ "state": "shipped" }))),
    ]
}

fn order(id: &str, tool: &str) -> Answer {
    call(210, "", &[(id, tool, json!({ "order_id": 9007199254740993_u64 }))], 512, 24)
}

/// Plays one scenario. Returns the recording and the run ids in the order in which they began.
pub async fn play(name: &str, brokers: Option<&Brokers>) -> (Recording, Vec<String>) {
    let simple = async |stage: Stage, request: rt::RunRequest| {
        let live = Live::start(stage, brokers).await;
        let result = common::run(&live.runtime, request).await;
        closed(name, live, vec![result]).await
    };
    match name {
        "plain-answer" => {
            let provider = Provider::new("openai", answers(vec![say(320, "The capital of Bhutan is Thimphu.", 21, 9)]));
            simple(stage(provider, vec![]), ask(GPT, "What is the capital of Bhutan?")).await
        }
        "streamed-answer" => {
            let provider = Provider::new("anthropic", answers(vec![say(240, FORECAST, 1_204, 81)])).streaming();
            simple(stage(provider, vec![]), ask(SONNET, "Do I need a jacket in Zürich today?")).await
        }
        "parallel-tools" => {
            let first = call(
                260,
                "I will look at the weather, the air and the trains. ",
                &[
                    ("toolu_01A", "get_weather", json!({ "city": "Zürich" })),
                    ("toolu_01B", "get_air_quality", json!({ "city": "Zürich" })),
                    ("toolu_01C", "search_trains", json!({ "from": "Bern", "to": "Zürich HB" })),
                ],
                1_511,
                148,
            );
            let second = call(
                230,
                "Now the same for Lugano. ",
                &[
                    ("toolu_02A", "get_weather", json!({ "city": "Lugano" })),
                    ("toolu_02B", "get_air_quality", json!({ "city": "Lugano" })),
                    ("toolu_02C", "search_trains", json!({ "from": "Bern", "to": "Lugano" })),
                ],
                1_893,
                141,
            );
            let provider =
                Provider::new("anthropic", answers(vec![first, second, say(310, FORECAST, 2_240, 96)])).streaming();
            simple(stage(provider, weather_tools()), ask(SONNET, "Zürich or Lugano, by train from Bern?")).await
        }
        "failing-tool" => {
            let replies = vec![
                order("call_9fQ1", "find_order"),
                order("call_9fQ2", "refund_order"),
                say(280, "The refund did not go through; please try again in a few minutes.", 655, 17),
            ];
            simple(stage(Provider::new("openai", answers(replies)), order_tools()), ask(GPT, "Refund my order")).await
        }
        "failing-tool-abort" => {
            let replies = vec![order("call_9fQ3", "refund_order"), say(280, "The refund did not go through.", 601, 9)];
            let stage = stage(Provider::new("openai", answers(replies)), order_tools())
                .policy(|p| p.with_continue_on_tool_failure(false));
            simple(stage, ask(GPT, "Refund my order")).await
        }
        "tool-timeout" => {
            let replies = vec![
                order("call_7hT1", "watch_order"),
                say(240, "I could not reach the parcel service in time.", 603, 11),
            ];
            let stage = stage(Provider::new("openai", answers(replies)), order_tools())
                .policy(|p| p.with_tool_timeout(Duration::from_millis(400)));
            simple(stage, ask(GPT, "Tell me when my order ships")).await
        }
        "unknown-tool" => {
            let replies =
                vec![order("call_2kU1", "cancel_order"), say(250, "I am not able to cancel orders.", 588, 10)];
            simple(stage(Provider::new("openai", answers(replies)), order_tools()), ask(GPT, "Cancel my order")).await
        }
        "provider-error" => {
            let error = rt::ProviderError::Authentication { provider: provider_id(GPT) };
            simple(stage(Provider::new("openai", vec![Reply::Fail(error)]), vec![]), ask(GPT, "Hello?")).await
        }
        "provider-error-late" => {
            let overloaded = || Reply::Fail(rt::ProviderError::Overloaded { provider: provider_id(SONNET) });
            let first = call(220, "Let me see. ", &[("toolu_03A", "get_weather", json!({ "city": "Basel" }))], 940, 58);
            let provider =
                Provider::new("anthropic", vec![Reply::Answer(first), overloaded(), overloaded()]).streaming();
            simple(stage(provider, weather_tools()), ask(SONNET, "Weather in Basel?")).await
        }
        "stream-fallback" => {
            let answer = call(
                240,
                "Zürich first, then I compare. ",
                &[("toolu_04A", "get_weather", json!({ "city": "Zürich" }))],
                980,
                66,
            );
            let error = rt::ProviderError::Decode { provider: provider_id(SONNET), message: "unexpected end".into() };
            // Five words, then start, three pieces of arguments and end of the tool call.
            let provider = Provider::new(
                "anthropic",
                vec![
                    Reply::Break(answer.clone(), 9, error),
                    Reply::Answer(answer),
                    Reply::Answer(say(290, FORECAST, 1_160, 82)),
                ],
            )
            .streaming();
            simple(stage(provider, weather_tools()), ask(SONNET, "Weather in Zürich?")).await
        }
        "stream-stall" => stream_stall(name, brokers).await,
        "iteration-limit" => {
            let replies = (1..=3)
                .map(|i| {
                    call(190, "", &[(&format!("call_page{i}"), "search_pages", json!({ "page": i }))], 300 + 40 * i, 15)
                })
                .collect();
            let pages = Tool::new("search_pages", json!({ "page": { "type": "integer" } }), 85, Ok(json!([])));
            let stage =
                stage(Provider::new("openai", answers(replies)), vec![pages]).policy(|p| p.with_max_iterations(3));
            simple(stage, ask(GPT, "Find the page about owls")).await
        }
        "token-budget" => {
            let replies = (1..=2)
                .map(|i| call(190, "", &[(&format!("call_page{i}"), "search_pages", json!({ "page": i }))], 700, 25))
                .collect();
            let pages = Tool::new("search_pages", json!({ "page": { "type": "integer" } }), 85, Ok(json!([])));
            let stage =
                stage(Provider::new("openai", answers(replies)), vec![pages]).policy(|p| p.with_max_tokens(1_000));
            simple(stage, ask(GPT, "Find the page about owls")).await
        }
        "doom-loop" => {
            let replies = (1..=3)
                .map(|i| {
                    call(190, "", &[(&format!("call_same{i}"), "search_pages", json!({ "page": 1 }))], 300 + 40 * i, 15)
                })
                .collect();
            let pages = Tool::new("search_pages", json!({ "page": { "type": "integer" } }), 85, Ok(json!([])));
            simple(stage(Provider::new("openai", answers(replies)), vec![pages]), ask(GPT, "Find the page about owls"))
                .await
        }
        "compaction" => {
            let replies = vec![
                order("call_4cP1", "find_order"),
                say(300, "Your order is on its way, as I said before.", 2_410, 14),
            ];
            let stage = stage(Provider::new("openai", answers(replies)).limits(6_000, 1_000), order_tools());
            compacting(name, brokers, stage, 3, Ok("Earlier: the customer asked about several orders.")).await
        }
        "context-overflow" => {
            let message = "prompt is too long: 213412 tokens > 200000 maximum".to_owned();
            let overflow = rt::ProviderError::BadRequest { provider: provider_id(GPT), message };
            let replies = vec![Reply::Fail(overflow), Reply::Answer(say(300, "Here is the short version.", 3_120, 8))];
            compacting(name, brokers, stage(Provider::new("openai", replies), vec![]), 3, Ok("Earlier: many orders."))
                .await
        }
        "compaction-circuit" => {
            let stage = stage(Provider::new("openai", vec![]).limits(6_000, 1_000), vec![]);
            compacting(name, brokers, stage, 1, Err(())).await
        }
        "truncated-output" => {
            let replies = vec![
                say(260, "Owls hunt at night because ", 120, 64).finish(rt::FinishReason::Length),
                say(210, "their prey is active then.", 205, 7),
            ];
            simple(
                stage(Provider::new("anthropic", answers(replies)).streaming(), vec![]),
                ask(SONNET, "Why do owls hunt at night?"),
            )
            .await
        }
        "truncated-final" => {
            let replies = vec![say(260, "Owls hunt at night because ", 120, 64).finish(rt::FinishReason::Length)];
            let stage = stage(Provider::new("anthropic", answers(replies)).streaming(), vec![])
                .policy(|p| p.with_max_output_recovery_attempts(0));
            simple(stage, ask(SONNET, "Why do owls hunt at night?")).await
        }
        "unknown-finish" => {
            let unknown = rt::FinishReason::Unknown("pause_turn".to_owned());
            // Tool calls with another finish reason than tool_calls are not run.
            let reply = call(230, "One moment. ", &[("toolu_05A", "get_weather", json!({ "city": "Bern" }))], 410, 22);
            let provider = Provider::new("anthropic", answers(vec![reply.finish(unknown)])).streaming();
            simple(stage(provider, weather_tools()), ask(SONNET, "Weather in Bern?")).await
        }
        "cache-tokens" => cache_tokens(name, brokers).await,
        "one-session" => {
            let replies = vec![
                say(280, "An owl is a bird of prey.", 24, 9),
                say(260, "About four years in the wild.", 61, 8).usage(None), // a provider that reports no usage
            ];
            let live = Live::start(stage(Provider::new("openai", answers(replies)), vec![]), brokers).await;
            let session = new_session(&live, 0).await;
            let mut results = Vec::new();
            // The same text again is turned away as a duplicate, whatever its session: no event at all.
            for question in ["What is an owl?", "How old does it get?", "What is an owl?"] {
                results.push(common::run(&live.runtime, ask(GPT, question).with_session_id(session)).await);
            }
            closed(name, live, results).await
        }
        "resume" | "resume-model" | "resume-stuck" => resumed(name, brokers).await,
        "anthropic-adapter" => adapter(name, brokers, SONNET, anthropic_session()).await,
        "anthropic-adapter-fallback" => adapter(name, brokers, SONNET, anthropic_fallback()).await,
        "openai-adapter" => adapter(name, brokers, GPT, openai_session()).await,
        "fifty-runs" => fifty_runs(name, brokers).await,
        _ => common::fail(&format!("no scenario {name}")),
    }
}

/// Scenarios for which the memory event store and the invocation facade are recorded as well.
const WITH_SIDE: &[&str] = &["parallel-tools", "cache-tokens", "resume"];

async fn closed(name: &str, live: Live, results: Vec<Value>) -> (Recording, Vec<String>) {
    let (log, side) = live.finish().await;
    let runs = log.runs();
    let mut recording = Recording { results, ..Recording::default() };
    recording.add("", log.lines());
    if WITH_SIDE.contains(&name) {
        for (transport, lines) in rt::side_lines(&side, &runs).await {
            recording.add(transport, lines);
        }
    }
    (recording, runs)
}

/// A session with so many earlier turns of some 500 tokens each.
async fn new_session(live: &Live, turns: usize) -> uuid::Uuid {
    let sessions = live.runtime.store().sessions();
    let session =
        sessions.create_session(rt::Session::new("Support", rt::ModelName::new("gpt-4o"))).await.expect("session");
    for turn in 0..turns {
        let long = format!("Turn {turn}: {}", "where is my order and when will it arrive? ".repeat(22));
        for role in [rt::MessageRole::User, rt::MessageRole::Assistant] {
            let message = rt::MessageRecord::new(session.id, role, vec![rt::ContentPart::text(long.clone())]);
            sessions.append_message(message).await.expect("message");
        }
    }
    session.id
}

async fn compacting(
    name: &str,
    brokers: Option<&Brokers>,
    stage: Stage,
    threshold: u32,
    summary: Result<&'static str, ()>,
) -> (Recording, Vec<String>) {
    // The runtime asks a model of its own for the summary; no event tells of that call.
    let summaries = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&summaries);
    let summarizer = Provider::deciding("openai-mini", move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        match summary {
            Ok(text) => Reply::Answer(say(350, text, 2_000, 60)),
            Err(()) => Reply::Fail(rt::ProviderError::Overloaded { provider: rt::ProviderId::new("openai-mini") }),
        }
    });
    let stage = stage.and(summarizer).policy(|p| {
        p.with_compaction(
            rt::CompactionConfig::new()
                .with_provider(rt::ProviderId::new("openai-mini"))
                .with_model(rt::ModelName::new("gpt-4o-mini"))
                .with_keep_tokens(1_200)
                .with_circuit_breaker_threshold(threshold),
        )
    });
    let live = Live::start(stage, brokers).await;
    let session = new_session(&live, 10).await;
    let mut result = common::run(&live.runtime, ask(GPT, "And my last order?").with_session_id(session)).await;
    result["summaries_asked_for"] = summaries.load(Ordering::SeqCst).into();
    closed(name, live, vec![result]).await
}

async fn stream_stall(name: &str, brokers: Option<&Brokers>) -> (Recording, Vec<String>) {
    let stalled = Reply::Stall(say(240, FORECAST, 1_204, 81), 12);
    let stage = stage(Provider::new("anthropic", vec![stalled]).streaming(), vec![])
        .policy(|p| p.with_provider_timeout(Duration::from_millis(700)));
    let live = Live::start(stage, brokers).await;
    let run_id = rt::RunId::new();
    let request = ask(SONNET, "Do I need a jacket in Zürich today?").with_run_id(run_id);
    // The application loses patience where the runtime does not.
    let result = match tokio::time::timeout(Duration::from_millis(2_500), live.runtime.run(request)).await {
        Ok(Ok(_)) => common::fail("a stalled stream came to an end"),
        Ok(Err(error)) => json!({ "run_id": run_id, "call": "run", "error": error.to_string() }),
        Err(_) => json!({ "run_id": run_id, "call": "run", "dropped": "still waiting for the stream after 2.5 s" }),
    };
    closed(name, live, vec![result]).await
}

async fn cache_tokens(name: &str, brokers: Option<&Brokers>) -> (Recording, Vec<String>) {
    // Anthropic's meaning (input without cache), then OpenAI's (cached is part of input), then
    // DeepSeek's (reads are part of input).
    let sonnet = Provider::new(
        "anthropic",
        answers(vec![
            call(250, "", &[("toolu_06A", "get_weather", json!({ "city": "Bern" }))], 0, 0)
                .usage(rt::cached_usage(38, 54, 4_096, 0, 0)),
            say(220, "It rains in Bern.", 0, 0).usage(rt::cached_usage(112, 8, 0, 4_096, 0)),
        ]),
    );
    let gpt =
        Provider::new("openai", answers(vec![say(260, "Yes.", 0, 0).usage(rt::cached_usage(2_310, 4, 0, 0, 2_048))]));
    let deepseek =
        Provider::new("deepseek", answers(vec![say(260, "Yes.", 0, 0).usage(rt::cached_usage(1_920, 4, 0, 1_792, 0))]));
    let live = Live::start(stage(sonnet, weather_tools()).and(gpt).and(deepseek), brokers).await;
    let results = vec![
        common::run(&live.runtime, ask(SONNET, "Weather in Bern?")).await,
        common::run(&live.runtime, ask(GPT, "Is it raining?")).await,
        common::run(&live.runtime, ask(("deepseek", "deepseek-chat"), "And in Basel?")).await,
    ];
    closed(name, live, results).await
}

async fn fifty_runs(name: &str, brokers: Option<&Brokers>) -> (Recording, Vec<String>) {
    // Which run a request is of shows in its first user message.
    let number = |request: &rt::ChatRequest| -> u64 {
        let text = serde_json::to_string(&request.messages).expect("messages");
        text.split("order no. ")
            .nth(1)
            .and_then(|t| t.split('.').next())
            .and_then(|t| t.parse().ok())
            .expect("a number")
    };
    let provider = Provider::deciding("openai", move |request| {
        let n = number(request);
        if matches!(request.messages.last(), Some(rt::Message::Tool { .. })) {
            if n % 10 == 9 {
                return Reply::Fail(rt::ProviderError::RateLimited { provider: provider_id(GPT), retry_after: None });
            }
            Reply::Answer(say(200 + (n * 211) % 2_700, &format!("Order {n} has arrived."), 180 + n, 8))
        } else {
            let id = format!("call_run{n}");
            let arguments = json!({ "order_id": n });
            Reply::Answer(call(300 + (n * 137) % 2_700, "", &[(&id, "find_order", arguments)], 140 + n, 21))
        }
    });
    let live = Live::start(stage(provider, order_tools()), brokers).await;
    // The sessions come first: in 0.2.2 a session made while another one gets a message can
    // lock the memory store up for ever.
    let mut runs = Vec::new();
    for n in 0..50 {
        let session = new_session(&live, 0).await;
        runs.push(ask(GPT, &format!("Where is order no. {n}.?")).with_session_id(session));
    }
    let runs = runs.into_iter().map(|request| {
        let runtime = Arc::clone(&live.runtime);
        tokio::spawn(async move { common::run(&runtime, request).await })
    });
    let results = futures_util::future::join_all(runs.collect::<Vec<_>>()).await;
    let results = results.into_iter().map(|r| r.expect("run")).collect();
    closed(name, live, results).await
}

// ---- resume: two processes ----

static LIVE: OnceLock<Live> = OnceLock::new();

async fn resumed(name: &str, brokers: Option<&Brokers>) -> (Recording, Vec<String>) {
    let state = std::env::temp_dir().join(format!("recorder-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&state);
    std::fs::create_dir_all(&state).expect("state folder");
    let mut recording = Recording::default();
    for (part, expected) in [("1", CRASHED), ("2", 0)] {
        let mut command = Command::new(std::env::current_exe().expect("own path"));
        command.args(["--part", &format!("{name}/{part}"), "--state"]).arg(&state);
        if let Some(brokers) = brokers {
            command.args(["--redis", &brokers.redis_url, "--nats", &brokers.nats_url]);
        }
        let status = tokio::task::spawn_blocking(move || command.status()).await.expect("child").expect("child");
        if status.code() != Some(expected) {
            common::fail(&format!("{name}: part {part} ended with {status}"));
        }
        let saved: Value = read(&state.join(format!("part{part}.json")));
        for (transport, lines) in saved["files"].as_object().expect("files") {
            recording.add(transport, serde_json::from_value(lines.clone()).expect("lines"));
        }
        recording.results.push(saved["result"].clone());
    }
    let run = recording.results[0]["run_id"].as_str().expect("run id").to_owned();
    std::fs::remove_dir_all(&state).expect("remove state folder");
    (recording, vec![run])
}

/// One of the two processes of a resumed run.
pub async fn part(which: &str, state: &Path, brokers: Option<&Brokers>) {
    let (name, part) = which.split_once('/').expect("NAME/PART");
    let first = part == "1";
    let stage = resumed_stage(name, state, first);
    if first {
        LIVE.set(Live::start(stage, brokers).await).ok().expect("once");
        let live = LIVE.get().expect("set");
        let turns = if name == "resume-stuck" { 10 } else { 0 };
        let session = new_session(live, turns).await;
        let result = common::run(&live.runtime, ask(SONNET, "Weather in Zürich?").with_session_id(session)).await;
        common::fail(&format!("{name}: the run should have crashed, but: {result}"));
    }
    let live = Live::start(stage, brokers).await;
    let saved: Value = read(&state.join("part1.json"));
    // What a persistent store would still know: this one is in memory and begins empty.
    let store = live.runtime.store();
    let session = serde_json::from_value(saved["session"].clone()).expect("session");
    store.sessions().create_session(session).await.expect("session");
    for message in serde_json::from_value::<Vec<rt::MessageRecord>>(saved["messages"].clone()).expect("messages") {
        store.sessions().append_message(message).await.expect("message");
    }
    let run: rt::RunRecord = serde_json::from_value(saved["run"].clone()).expect("run");
    let run_id = run.id;
    store.runs().create_run(run).await.expect("run");
    if name == "resume-stuck" {
        let runtime = Arc::clone(&live.runtime);
        tokio::spawn(async move { common::resume(&runtime, run_id).await });
        common::wait("a flood of events", async || live.log.len() >= 40).await;
        let result = json!({ "run_id": run_id, "call": "resume", "dropped": "does not end; cut after 40 events" });
        save(&state.join("part2.json"), json!({ "files": { "": live.log.lines()[..40] }, "result": result }));
        std::process::exit(0); // the loop leaves no other way out
    }
    let result = common::resume(&live.runtime, run_id).await;
    let (recording, _) = closed(name, live, vec![]).await;
    save(&state.join("part2.json"), json!({ "files": recording.files, "result": result }));
}

fn resumed_stage(name: &str, state: &Path, first: bool) -> Stage {
    let die: Crash = {
        let (name, state) = (name.to_owned(), state.to_owned());
        Arc::new(move || {
            let (name, state) = (name.clone(), state.clone());
            Box::pin(async move { crash(&name, &state).await })
        })
    };
    let crash_here = Arc::clone(&die);
    let weather =
        |id: &str, city: &str| call(230, "Looking. ", &[(id, "get_weather", json!({ "city": city }))], 900, 52);
    let last = || say(280, FORECAST, 1_300, 82);
    let (provider, tool): (Provider, Tool) = match name {
        // The second iteration's tool takes the process with it.
        "resume" => {
            let tool = Tool::working("get_weather", json!({ "city": { "type": "string" } }), move |arguments| {
                let die = Arc::clone(&die);
                Box::pin(async move {
                    pause(150).await;
                    if first && arguments["city"] == "Genève" {
                        die().await;
                    }
                    Ok(json!({ "celsius": 17.5 }))
                })
            });
            let script = if first {
                vec![weather("toolu_07A", "Zürich"), weather("toolu_07B", "Genève")]
            } else {
                vec![last()]
            };
            (Provider::new("anthropic", answers(script)).streaming(), tool)
        }
        // The process ends in the middle of the second answer.
        "resume-model" => {
            let script = if first {
                vec![Reply::Answer(weather("toolu_08A", "Zürich")), Reply::Crash(last(), 14, Arc::clone(&die))]
            } else {
                vec![Reply::Answer(last())]
            };
            let tool =
                Tool::new("get_weather", json!({ "city": { "type": "string" } }), 150, Ok(json!({ "celsius": 17.5 })));
            (Provider::new("anthropic", script).streaming(), tool)
        }
        // The process ends while the runtime compacts, before the model is called.
        "resume-stuck" => {
            let tool = Tool::new("get_weather", json!({}), 1, Ok(json!({})));
            (Provider::new("anthropic", vec![]).limits(6_000, 1_000), tool)
        }
        _ => common::fail("no such part"),
    };
    let mut stage = stage(provider, vec![tool]);
    stage.snapshots = Some(state.join("snapshots"));
    if name == "resume-stuck" {
        let summarizer = if first {
            Provider::new("openai-mini", vec![Reply::Crash(say(200, "Earlier", 1, 1), 0, crash_here)])
        } else {
            Provider::deciding("openai-mini", |_| Reply::Answer(say(20, "Earlier: many orders.", 2_000, 60)))
        };
        stage = stage.and(summarizer).policy(|p| {
            p.with_compaction(
                rt::CompactionConfig::new()
                    .with_provider(rt::ProviderId::new("openai-mini"))
                    .with_model(rt::ModelName::new("gpt-4o-mini"))
                    .with_keep_tokens(1_200),
            )
        });
    }
    stage
}

/// Ends this process as a crash would, after writing down what the other stores would have kept.
async fn crash(name: &str, state: &Path) {
    let live = LIVE.get().expect("a live runtime");
    // The publishers and bridges get to send what was emitted: what they lose is not the point here.
    if let Some(sent) = &live.side.sent {
        sent.all(live.log.len()).await;
    }
    pause(1_000).await;
    let runs = live.log.runs();
    let run_id = rt::RunId::from_uuid(runs[0].parse().expect("run id"));
    let store = live.runtime.store();
    let run = store.runs().get_run(run_id).await.expect("run").expect("run");
    let session_id = run.session_id;
    let mut files = json!({ "": live.log.lines() });
    if WITH_SIDE.contains(&name) {
        for (transport, lines) in rt::side_lines(&live.side, &runs).await {
            files[transport] = lines.into();
        }
    }
    let saved = json!({
        "files": files,
        "result": { "run_id": runs[0], "call": "run", "crashed": true, "events_before": live.log.len() },
        "run": run,
        "session": store.sessions().get_session(&session_id).await.expect("session"),
        "messages": store.sessions().list_messages(&session_id).await.expect("messages"),
    });
    save(&state.join("part1.json"), saved);
    std::process::exit(CRASHED);
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("read")).expect("JSON")
}

fn save(path: &Path, value: Value) {
    std::fs::write(path, value.to_string()).expect("write");
}

// ---- the crate's own adapters against a fake API ----

async fn adapter(
    name: &str,
    brokers: Option<&Brokers>,
    model: (&'static str, &str),
    responses: Vec<Response>,
) -> (Recording, Vec<String>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = rt::ProviderHttpConfig::new(provider_id(model), serve(responses).await);
    let provider: Arc<dyn rt::ChatProvider> = if model == GPT {
        Arc::new(rt::OpenAiChatAdapter::new(config).expect("adapter"))
    } else {
        Arc::new(rt::AnthropicChatAdapter::new(config).expect("adapter"))
    };
    let mut stage = stage(Provider::new("unused", vec![]), weather_tools());
    stage.providers = vec![provider];
    let live = Live::start(stage, brokers).await;
    let result = common::run(&live.runtime, ask(model, "What is the weather in Zürich and in Lugano?")).await;
    closed(name, live, vec![result]).await
}

fn words(text: &str) -> Vec<String> {
    text.split_inclusive(' ').map(str::to_owned).collect()
}

type Events = Vec<(u64, Option<&'static str>, String)>;

/// The events of one message of Anthropic's API: content blocks, then the closing usage.
fn anthropic_message(blocks: Vec<Value>, stop: &str, usage: Value) -> Response {
    let mut events: Events = Vec::new();
    let mut push = |wait: u64, name: &'static str, data: Value| events.push((wait, Some(name), data.to_string()));
    push(
        230,
        "message_start",
        json!({ "type": "message_start", "message": {
        "id": "msg_01", "type": "message", "role": "assistant", "model": SONNET.1, "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": { "input_tokens": 612, "output_tokens": 1 } } }),
    );
    for (index, block) in blocks.into_iter().enumerate() {
        let (start, deltas) = if let Some(text) = block.as_str() {
            let deltas: Vec<Value> =
                words(text).into_iter().map(|t| json!({ "type": "text_delta", "text": t })).collect();
            (json!({ "type": "text", "text": "" }), deltas)
        } else {
            let input = block["input"].to_string();
            let (a, b) = input.split_at(input.char_indices().nth(9).map_or(0, |(at, _)| at));
            let deltas = ["", a, b].iter().map(|p| json!({ "type": "input_json_delta", "partial_json": p })).collect();
            (json!({ "type": "tool_use", "id": block["id"], "name": block["name"], "input": {} }), deltas)
        };
        push(
            20,
            "content_block_start",
            json!({ "type": "content_block_start", "index": index, "content_block": start }),
        );
        if index == 0 {
            push(0, "ping", json!({ "type": "ping" }));
        }
        for delta in deltas {
            push(12, "content_block_delta", json!({ "type": "content_block_delta", "index": index, "delta": delta }));
        }
        push(6, "content_block_stop", json!({ "type": "content_block_stop", "index": index }));
    }
    push(
        15,
        "message_delta",
        json!({ "type": "message_delta",
        "delta": { "stop_reason": stop, "stop_sequence": null }, "usage": usage }),
    );
    push(1, "message_stop", json!({ "type": "message_stop" }));
    Response::Events(events)
}

fn anthropic_usage(input: u64, output: u64, read: u64) -> Value {
    json!({ "input_tokens": input, "cache_creation_input_tokens": 0, "cache_read_input_tokens": read, "output_tokens": output })
}

fn tool_use(id: &str, name: &str, city: &str) -> Value {
    json!({ "id": id, "name": name, "input": { "city": city } })
}

fn anthropic_session() -> Vec<Response> {
    vec![
        // Text before the tool calls, as the model mostly does.
        anthropic_message(
            vec![
                json!("I will look at both cities."),
                tool_use("toolu_11A", "get_weather", "Zürich"),
                tool_use("toolu_11B", "get_weather", "Lugano"),
            ],
            "tool_use",
            anthropic_usage(612, 118, 0),
        ),
        // Tool calls only.
        anthropic_message(
            vec![tool_use("toolu_12A", "get_weather", "Zürich"), tool_use("toolu_12B", "get_weather", "Lugano")],
            "tool_use",
            anthropic_usage(96, 104, 704),
        ),
        anthropic_message(
            vec![json!("Both cities have light rain and 17.5 °C.")],
            "end_turn",
            anthropic_usage(110, 14, 816),
        ),
    ]
}

fn anthropic_fallback() -> Vec<Response> {
    vec![
        // The closing usage of older servers and of many compatible ones has output_tokens only.
        anthropic_message(vec![json!("It rains in both cities.")], "end_turn", json!({ "output_tokens": 9 })),
        Response::Json(
            410,
            json!({ "id": "msg_02", "type": "message", "role": "assistant", "model": SONNET.1,
                "content": [{ "type": "text", "text": "It rains in both cities." }],
                "stop_reason": "end_turn", "stop_sequence": null, "usage": anthropic_usage(40, 9, 576) }),
        ),
    ]
}

/// The chunks of one answer of OpenAI's API. No usage: the adapter does not ask for it.
fn openai_chunks(deltas: Vec<Value>, finish: &str) -> Response {
    let chunk = |delta: Value, finish: Value| {
        json!({ "id": "chatcmpl-01", "object": "chat.completion.chunk", "created": 1760000000, "model": GPT.1,
            "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] })
        .to_string()
    };
    let mut events: Events = vec![(260, None, chunk(json!({ "role": "assistant", "content": null }), Value::Null))];
    events.extend(deltas.into_iter().map(|delta| (13, None, chunk(delta, Value::Null))));
    events.push((9, None, chunk(json!({}), json!(finish))));
    events.push((1, None, "[DONE]".to_owned()));
    Response::Events(events)
}

fn openai_session() -> Vec<Response> {
    let tool = |index: u64, id: &str, city: &str| {
        vec![
            json!({ "tool_calls": [{ "index": index, "id": id, "type": "function",
                "function": { "name": "get_weather", "arguments": "" } }] }),
            json!({ "tool_calls": [{ "index": index, "function": { "arguments": "{\"city\":" } }] }),
            json!({ "tool_calls": [{ "index": index, "function": { "arguments": format!("\"{city}\"}}") } }] }),
        ]
    };
    let answer =
        words("Both cities have light rain and 17.5 °C.").into_iter().map(|w| json!({ "content": w })).collect();
    vec![
        openai_chunks([tool(0, "call_13A", "Zürich"), tool(1, "call_13B", "Lugano")].concat(), "tool_calls"),
        openai_chunks(answer, "stop"),
    ]
}
