//! Records version 0.5.9.

mod rt {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    pub use behest_0_5::adapt::{anthropic::AnthropicChatAdapter, openai::OpenAiChatAdapter};
    pub use behest_0_5::error::{ProviderError, ToolError};
    pub use behest_0_5::provider::{
        ChatProvider, ChatRequest, ChatResponse, ChatStream, ChatStreamEvent, ContentPart, FinishReason, Message,
        ModelName, ProviderCapabilities, ProviderHttpConfig, ProviderId, ProviderResult, TokenUsage, ToolCall,
    };
    pub use behest_0_5::runtime::memory::MemoryRunStore;
    pub use behest_0_5::runtime::run::RunRecord;
    pub use behest_0_5::runtime::{
        AgentRuntime, CompactionConfig, FileSnapshotStore, RunId, RunOutput, RunRequest, RuntimeError, RuntimePolicy,
    };
    pub use behest_0_5::store::{MessageRecord, MessageRole, Session};
    pub use behest_0_5::tool::{Tool, ToolOutput, ToolRegistry, ToolResult};

    use behest_0_5::queue::{EventPublisher as Queue, NatsEventPublisher, RedisStreamsPublisher};
    use behest_0_5::runtime::{
        AgentEvent, EventKind, EventPublishError, Extensions, InvocationHandle, MemoryRuntimeEventStore,
        MemoryRuntimeStreamAdapter, NatsJetStreamStreamAdapter, RedisRuntimeEventStore, RuntimeEventBridge,
        RuntimeEventBridgeHandle, RuntimeEventPublisher, RuntimeEventStore, RuntimeInvocation,
    };
    use behest_0_5::store::memory::{MemoryExecutionStore, MemorySessionStore};

    use crate::common::{Brokers, NATS_SUBJECT, REDIS_KEY, Sent, Stage};

    pub const VERSION: &str = "0.5.9";
    pub const HAS_ENVELOPE: bool = true;

    /// What else hands out envelopes: the memory event store with the crate's own bridges that fill
    /// the stores from the channel, and the invocation facade.
    pub struct Side {
        pub sent: Option<Sent>,
        memory: Arc<MemoryRuntimeEventStore>,
        bridges: Vec<RuntimeEventBridgeHandle>,
        invocation: Arc<Mutex<Vec<String>>>,
        _listener: InvocationHandle,
    }

    /// Both of the crate's publishers at once, so that one run is recorded on all transports.
    struct Both(RedisStreamsPublisher, NatsEventPublisher, Sent);

    #[async_trait::async_trait]
    impl RuntimeEventPublisher for Both {
        async fn publish(&self, event: AgentEvent) -> Result<(), EventPublishError> {
            let (redis, nats) = tokio::join!(Queue::publish(&self.0, event.clone()), Queue::publish(&self.1, event));
            self.2.count();
            redis.and(nats).map_err(|e| EventPublishError::PublishFailed { message: e.to_string() })
        }
    }

    pub async fn start(stage: Stage, brokers: Option<&Brokers>) -> (Arc<AgentRuntime>, Side) {
        let parts = Extensions::new();
        for provider in stage.providers {
            parts.chat_providers.register_or_replace(provider.id().to_string(), provider);
        }
        parts.session_stores.register_or_replace("default", Arc::new(MemorySessionStore::new()));
        parts.execution_stores.register_or_replace("default", Arc::new(MemoryExecutionStore::new()));
        parts.run_stores.register_or_replace("default", Arc::new(MemoryRunStore::new()));
        let tools = ToolRegistry::new();
        for tool in stage.tools {
            tools.register_arc(tool);
        }
        let redis_store = match brokers {
            Some(brokers) => {
                let client = redis_0_27::Client::open(brokers.redis_url.as_str()).expect("redis url");
                let connection = redis_0_27::aio::ConnectionManager::new(client).await.expect("redis connection");
                let store: Arc<dyn RuntimeEventStore> = Arc::new(RedisRuntimeEventStore::new(connection));
                // What an application does that wants its cache metrics kept; see the README of the
                // recordings for what comes of it.
                parts.runtime_event_stores.register_or_replace("default", Arc::clone(&store));
                Some(store)
            }
            None => None,
        };
        let mut runtime = AgentRuntime::new(Arc::new(parts), stage.policy).with_tool_registry(tools);
        if let Some(folder) = stage.snapshots {
            runtime = runtime.with_snapshot_store(Arc::new(FileSnapshotStore::new(folder)));
        }
        let mut sent = None;
        if let Some(brokers) = brokers {
            let counter = Sent::new(brokers).await;
            runtime = runtime.with_event_publisher(Arc::new(Both(
                RedisStreamsPublisher::connect(&brokers.redis_url, REDIS_KEY).await.expect("redis publisher"),
                NatsEventPublisher::new(counter.jetstream(), NATS_SUBJECT),
                counter.clone(),
            )));
            sent = Some(counter);
        }
        let runtime = Arc::new(runtime);
        let memory = Arc::new(MemoryRuntimeEventStore::new());
        let mut bridges = vec![
            Arc::new(RuntimeEventBridge::new(
                Arc::clone(&runtime),
                Arc::clone(&memory) as Arc<dyn RuntimeEventStore>,
                Arc::new(MemoryRuntimeStreamAdapter::new()),
            ))
            .spawn(),
        ];
        if let (Some(store), Some(brokers)) = (redis_store, brokers) {
            let client = async_nats::connect(&brokers.nats_url).await.expect("nats connection");
            let adapter = NatsJetStreamStreamAdapter::new(async_nats::jetstream::new(client));
            bridges.push(Arc::new(RuntimeEventBridge::new(Arc::clone(&runtime), store, Arc::new(adapter))).spawn());
        }
        let invocation = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&invocation);
        let listener = RuntimeInvocation::new(Arc::clone(&runtime))
            .on(EventKind::Any, move |envelope, _session, _control| {
                sink.lock().unwrap().push(serde_json::to_string(&envelope).expect("envelope as JSON"));
                std::future::ready(())
            })
            .await
            .expect("listener");
        (runtime, Side { sent, memory, bridges, invocation, _listener: listener })
    }

    /// The bridges end when the channel closes, after the last event in it.
    pub async fn settle(side: &mut Side) {
        for bridge in side.bridges.drain(..) {
            bridge.join().await.expect("bridge");
        }
        tokio::time::sleep(Duration::from_millis(200)).await; // each handler is a task of its own
    }

    pub async fn side_lines(side: &Side, runs: &[String]) -> BTreeMap<&'static str, Vec<String>> {
        let mut lines = Vec::new();
        for run in runs {
            let run_id = RunId::from_uuid(run.parse().expect("run id"));
            for envelope in side.memory.list_after(run_id, None, usize::MAX).await.expect("memory store") {
                lines.push(serde_json::to_string(&envelope).expect("envelope as JSON"));
            }
        }
        BTreeMap::from([("memory-run", lines), ("invocation", side.invocation.lock().unwrap().clone())])
    }

    pub fn cached_usage(input: u64, output: u64, written: u64, read: u64, cached: u64) -> Option<TokenUsage> {
        let some = |n: u64| (n > 0).then_some(n);
        Some(TokenUsage::new(input, output).with_cache_stats(some(written), some(read), some(cached)))
    }
}

mod common;
mod fake_api;
mod scenarios;
mod script;

fn main() {
    common::main();
}
