//! A provider and tools that do what a script says, with realistic pauses.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream;
use serde_json::{Value, json};

use crate::rt;

/// One answer of the model, in the order of the calls made to it.
pub enum Reply {
    Answer(Answer),
    /// The call fails before it says anything.
    Fail(rt::ProviderError),
    /// The stream breaks after so many chunks.
    Break(Answer, usize, rt::ProviderError),
    /// The stream stays open after so many chunks and says no more.
    Stall(Answer, usize),
    /// The process ends after so many chunks.
    Crash(Answer, usize, Crash),
}

/// Ends the process; it never comes back.
pub type Crash = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

#[derive(Clone)]
pub struct Answer {
    /// Milliseconds until the first chunk, or the whole answer.
    pub wait: u64,
    pub text: String,
    pub calls: Vec<rt::ToolCall>,
    pub finish: rt::FinishReason,
    pub usage: Option<rt::TokenUsage>,
}

pub fn say(wait: u64, text: &str, input: u64, output: u64) -> Answer {
    Answer {
        wait,
        text: text.to_owned(),
        calls: Vec::new(),
        finish: rt::FinishReason::Stop,
        usage: Some(rt::TokenUsage::new(input, output)),
    }
}

pub fn call(wait: u64, text: &str, calls: &[(&str, &str, Value)], input: u64, output: u64) -> Answer {
    Answer {
        calls: calls.iter().map(|(id, name, args)| rt::ToolCall::new(*id, *name, args.clone())).collect(),
        finish: rt::FinishReason::ToolCalls,
        ..say(wait, text, input, output)
    }
}

impl Answer {
    pub fn finish(mut self, finish: rt::FinishReason) -> Self {
        self.finish = finish;
        self
    }
    pub fn usage(mut self, usage: Option<rt::TokenUsage>) -> Self {
        self.usage = usage;
        self
    }
}

type Decide = dyn Fn(&rt::ChatRequest) -> Reply + Send + Sync;

pub struct Provider {
    id: &'static str,
    streaming: bool,
    /// Context window and output limit; the runtime compacts on its own only when it knows them.
    limits: Option<(u32, u32)>,
    decide: Box<Decide>,
}

impl Provider {
    pub fn new(id: &'static str, replies: Vec<Reply>) -> Self {
        let queue = Mutex::new(VecDeque::from(replies));
        Self::deciding(id, move |_| {
            queue.lock().unwrap().pop_front().unwrap_or_else(|| crate::common::fail("the script is too short"))
        })
    }
    pub fn deciding(id: &'static str, decide: impl Fn(&rt::ChatRequest) -> Reply + Send + Sync + 'static) -> Self {
        Self { id, streaming: false, limits: None, decide: Box::new(decide) }
    }
    pub fn streaming(mut self) -> Self {
        self.streaming = true;
        self
    }
    pub fn limits(mut self, input: u32, output: u32) -> Self {
        self.limits = Some((input, output));
        self
    }
    pub fn shared(self) -> Arc<dyn rt::ChatProvider> {
        Arc::new(self)
    }
}

#[async_trait::async_trait]
impl rt::ChatProvider for Provider {
    fn id(&self) -> rt::ProviderId {
        rt::ProviderId::new(self.id)
    }

    fn capabilities(&self) -> rt::ProviderCapabilities {
        rt::ProviderCapabilities {
            chat: true,
            chat_stream: self.streaming,
            tool_calling: true,
            parallel_tool_calls: true,
            max_input_tokens: self.limits.map(|l| l.0),
            max_output_tokens: self.limits.map(|l| l.1),
            ..rt::ProviderCapabilities::empty()
        }
    }

    async fn complete(&self, request: rt::ChatRequest) -> rt::ProviderResult<rt::ChatResponse> {
        match (self.decide)(&request) {
            Reply::Answer(answer) => {
                pause(answer.wait).await;
                let content = match answer.text.as_str() {
                    "" => Vec::new(),
                    text => vec![rt::ContentPart::text(text)],
                };
                Ok(rt::ChatResponse {
                    provider: self.id(),
                    model: request.model,
                    message: rt::Message::Assistant { content, tool_calls: answer.calls },
                    finish_reason: answer.finish,
                    usage: answer.usage,
                    raw: None,
                })
            }
            Reply::Fail(error) => {
                pause(90).await;
                Err(error)
            }
            Reply::Crash(answer, _, crash) => {
                pause(answer.wait).await;
                crash().await;
                unreachable!("the process has ended")
            }
            _ => crate::common::fail("this reply is for a stream"),
        }
    }

    async fn stream(&self, request: rt::ChatRequest) -> rt::ProviderResult<rt::ChatStream> {
        let started = rt::ChatStreamEvent::Started { provider: self.id(), model: request.model.clone() };
        let (answer, keep, end) = match (self.decide)(&request) {
            Reply::Answer(answer) => (answer, usize::MAX, End::Finish),
            Reply::Fail(error) => {
                pause(90).await;
                return Err(error);
            }
            Reply::Break(answer, keep, error) => (answer, keep, End::Break(error)),
            Reply::Stall(answer, keep) => (answer, keep, End::Stall),
            Reply::Crash(answer, keep, crash) => (answer, keep, End::Crash(crash)),
        };
        let mut steps: VecDeque<(u64, rt::ChatStreamEvent)> =
            chunks(&answer).into_iter().take(keep).collect::<Vec<_>>().into();
        if let Some(first) = steps.front_mut() {
            first.0 = answer.wait;
        }
        steps.push_front((0, started));
        if matches!(end, End::Finish) {
            let finished = rt::ChatStreamEvent::Finished { finish_reason: answer.finish.clone(), usage: answer.usage };
            steps.push_back((15, finished));
        }
        Ok(Box::pin(stream::unfold((steps, Some(end)), |(mut steps, end)| async move {
            if let Some((wait, event)) = steps.pop_front() {
                pause(wait).await;
                return Some((Ok(event), (steps, end)));
            }
            match end? {
                End::Finish => None,
                End::Break(error) => {
                    pause(40).await;
                    Some((Err(error), (steps, None)))
                }
                End::Stall => std::future::pending().await,
                End::Crash(crash) => {
                    crash().await;
                    None
                }
            }
        })))
    }
}

enum End {
    Finish,
    Break(rt::ProviderError),
    Stall,
    Crash(Crash),
}

/// A word per chunk; a tool call as its start, its arguments in pieces, its end.
fn chunks(answer: &Answer) -> Vec<(u64, rt::ChatStreamEvent)> {
    let mut chunks = Vec::new();
    for (i, word) in answer.text.split_inclusive(' ').enumerate() {
        chunks.push((8 + (i as u64 * 7) % 11, rt::ChatStreamEvent::TextDelta { delta: word.to_owned() }));
    }
    for call in &answer.calls {
        chunks.push((25, rt::ChatStreamEvent::ToolCallStarted { id: call.id.clone(), name: call.name.clone() }));
        let arguments: Vec<char> = call.arguments.to_string().chars().collect();
        for piece in arguments.chunks(14) {
            let delta: String = piece.iter().collect();
            chunks.push((9, rt::ChatStreamEvent::ToolCallArgumentsDelta { id: call.id.clone(), delta }));
        }
        chunks.push((4, rt::ChatStreamEvent::ToolCallCompleted { call: call.clone() }));
    }
    chunks
}

pub async fn pause(milliseconds: u64) {
    if milliseconds > 0 {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
}

type Work = dyn Fn(Value) -> BoxFuture<'static, Result<Value, String>> + Send + Sync;

pub struct Tool {
    name: &'static str,
    properties: Value,
    parallel: bool,
    work: Box<Work>,
}

impl Tool {
    /// A tool that takes its time and then answers.
    pub fn new(name: &'static str, properties: Value, wait: u64, answer: Result<Value, &'static str>) -> Self {
        Self::working(name, properties, move |_| {
            let answer = answer.clone().map_err(str::to_owned);
            Box::pin(async move {
                pause(wait).await;
                answer
            })
        })
    }
    pub fn working(
        name: &'static str,
        properties: Value,
        work: impl Fn(Value) -> BoxFuture<'static, Result<Value, String>> + Send + Sync + 'static,
    ) -> Self {
        Self { name, properties, parallel: false, work: Box::new(work) }
    }
    pub fn parallel(mut self) -> Self {
        self.parallel = true;
        self
    }
    pub fn shared(self) -> Arc<dyn rt::Tool> {
        Arc::new(self)
    }
}

#[async_trait::async_trait]
impl rt::Tool for Tool {
    fn name(&self) -> &str {
        self.name
    }
    fn description(&self) -> &str {
        "a scripted tool"
    }
    fn parameters_schema(&self) -> Value {
        let required: Vec<&String> = self.properties.as_object().map(|p| p.keys().collect()).unwrap_or_default();
        json!({ "type": "object", "properties": self.properties, "required": required })
    }
    async fn execute(&self, arguments: Value) -> rt::ToolResult<rt::ToolOutput> {
        match (self.work)(arguments).await {
            Ok(value) => Ok(rt::ToolOutput::new(value)),
            Err(message) => Err(rt::ToolError::Execution { name: self.name.to_owned(), message }),
        }
    }
    fn is_concurrency_safe(&self) -> bool {
        self.parallel
    }
}
