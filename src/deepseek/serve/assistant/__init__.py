"""Conversations over HTTP: messages, hand-over to people, the FAQ's keeper, chat completions and the chat page.

    model = AssistantModel("help", version, digest, manager, open_store)
    create_app({"help": model}, more_routes=[AssistantRoutes(model)])

Order of the modules: service (a message to kept replies), notes (webhook), model (OpenAI's routes), routes, pages.
"""
