//! Records version 0.2.2.

mod rt {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    pub use behest_0_2::adapt::{anthropic::AnthropicChatAdapter, openai::OpenAiChatAdapter};
    pub use behest_0_2::error::{ProviderError, ToolError};
    pub use behest_0_2::provider::{
        ChatProvider, ChatRequest, ChatResponse, ChatStream, ChatStreamEvent, ContentPart, FinishReason, Message,
        ModelName, ProviderCapabilities, ProviderHttpConfig, ProviderId, ProviderRegistry, ProviderResult, TokenUsage,
        ToolCall,
    };
    pub use behest_0_2::runtime::memory::MemoryRunStore;
    pub use behest_0_2::runtime::run::RunRecord;
    pub use behest_0_2::runtime::{
        AgentRuntime, CompactionConfig, FileSnapshotStore, RunId, RunOutput, RunRequest, RuntimeError, RuntimePolicy,
    };
    pub use behest_0_2::store::{MessageRecord, MessageRole, Session};
    pub use behest_0_2::tool::{Tool, ToolOutput, ToolRegistry, ToolResult};

    use behest_0_2::queue::{EventPublisher, NatsEventPublisher, QueueResult, RedisStreamsPublisher};
    use behest_0_2::runtime::{AgentEvent, BackgroundJobPool, ContextPipeline, RuntimeStore, ToolRuntime};
    use behest_0_2::store::memory::{MemoryExecutionStore, MemorySessionStore};

    use crate::common::{Brokers, NATS_SUBJECT, REDIS_KEY, Sent, Stage};

    pub const VERSION: &str = "0.2.2";
    pub const HAS_ENVELOPE: bool = false;

    /// Nothing beside the channel and the publishers in this version.
    pub struct Side {
        pub sent: Option<Sent>,
    }

    /// Both of the crate's publishers at once, so that one run is recorded on all transports.
    struct Both(RedisStreamsPublisher, NatsEventPublisher, Sent);

    #[async_trait::async_trait]
    impl EventPublisher for Both {
        async fn publish(&self, event: AgentEvent) -> QueueResult<()> {
            let (redis, nats) = tokio::join!(self.0.publish(event.clone()), self.1.publish(event));
            self.2.count();
            redis.and(nats)
        }
    }

    pub async fn start(stage: Stage, brokers: Option<&Brokers>) -> (Arc<AgentRuntime>, Side) {
        let mut providers = ProviderRegistry::new();
        for provider in stage.providers {
            providers.register_chat_arc(provider);
        }
        let tools = ToolRegistry::new();
        for tool in stage.tools {
            tools.register_arc(tool);
        }
        let store = Arc::new(RuntimeStore::new(
            Box::new(MemorySessionStore::new()),
            Box::new(MemoryExecutionStore::new()),
            Box::new(MemoryRunStore::new()),
        ));
        let mut runtime = AgentRuntime::new(
            providers,
            ContextPipeline::new(),
            ToolRuntime::new(tools, stage.policy.clone()),
            Arc::clone(&store),
            stage.policy,
        );
        if let Some(folder) = stage.snapshots {
            runtime = runtime.with_snapshot_store(Arc::new(FileSnapshotStore::new(folder)));
        }
        let mut side = Side { sent: None };
        if let Some(brokers) = brokers {
            let sent = Sent::new(brokers).await;
            let both: Arc<dyn EventPublisher> = Arc::new(Both(
                RedisStreamsPublisher::connect(&brokers.redis_url, REDIS_KEY).await.expect("redis publisher"),
                NatsEventPublisher::new(sent.jetstream(), NATS_SUBJECT),
                sent.clone(),
            ));
            side.sent = Some(sent);
            // In this version only the job pool publishes: a publisher alone is never called.
            let pool = BackgroundJobPool::new(store, Some(Arc::clone(&both)), None);
            pool.start();
            runtime = runtime.with_background_jobs(pool).with_event_publisher(both);
        }
        (Arc::new(runtime), side)
    }

    pub async fn settle(_side: &mut Side) {}

    pub async fn side_lines(_side: &Side, _runs: &[String]) -> BTreeMap<&'static str, Vec<String>> {
        BTreeMap::new()
    }

    pub fn cached_usage(_input: u64, _output: u64, _written: u64, _read: u64, _cached: u64) -> Option<TokenUsage> {
        None // the version does not know cache tokens
    }
}

mod common;
mod fake_api;
mod scenarios;
mod script;

fn main() {
    common::main();
}
