"""Jobs, queues, the dynamic batcher, and engine processes that compute."""
