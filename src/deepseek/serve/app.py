"""The application: routes a request to its handler, answers it, and emits an event about it.

    app = create_app({"cancer": runtime}, sinks=[metrics, audit], explainer_for=..., settings=settings)
    app.admit(request)                    # once its head was read: finds the route, checks key and origin
    app.handle(request, on_response)      # once its body was read: on_response(request, response)
    app.report(request, response.status)  # emits its event

Routes are whole paths in one dict, so that finding one costs a lookup. What a request is refused with is a
DeepseekError, which owns its status; anything else is a bug of ours, caught in one place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any

from deepseek.contracts import Event, Explainer, RowSink, Sink
from deepseek.errors import DeepseekError, DrainingError
from deepseek.http_errors import MethodNotAllowedError
from deepseek.serve.access.gate import AccessPolicy
from deepseek.serve.access.readiness import find_not_ready
from deepseek.serve.batching.processes import EngineProcesses
from deepseek.serve.batching.workers import LocalWorker, RunBatch, WorkerPool
from deepseek.serve.console.routes import Pages
from deepseek.serve.core.config import Settings
from deepseek.serve.core.head_cache import HeadCache
from deepseek.serve.core.keys import ApiKeys, UsageByKey
from deepseek.serve.core.memory_budget import MAX_LARGE_BODIES, BodyBudget
from deepseek.serve.core.request import EMPTY_MAPPING, Handler, Request, Response
from deepseek.serve.core.routes import MAX_SMALL_BODY_BYTES, ModelRoutes, Route, Router, model_paths
from deepseek.serve.models.adapter import ServableModel
from deepseek.serve.models.explanations import ExplainerPool, ExplanationConfig, ReasonCodes
from deepseek.serve.models.missing_route import missing_route_error
from deepseek.serve.models.registry import ModelRegistry
from deepseek.serve.models.routing import ModelVersions, TrafficSplit, check_splits_loaded
from deepseek.serve.models.served_model import ServedModel
from deepseek.serve.models.shadows import ShadowTraffic
from deepseek.serve.openai import routes as openai_routes
from deepseek.serve.openai.writers import WritingModel
from deepseek.serve.protocols import oip, records
from deepseek.serve.protocols.model_listing import describe_model, get_example, list_models
from deepseek.serve.repository.channel import Channel
from deepseek.serve.repository.deployment import LocalDeployment
from deepseek.serve.repository.folder import Repository
from deepseek.serve.repository.group_sync import GroupFollower
from deepseek.serve.repository.loader import ModelLifecycle, RepositoryLoader
from deepseek.serve.repository.output_compatibility import check_compatible, output_signature
from deepseek.serve.repository.protocol import load_or_unload, repository_index

REPOSITORY_PREFIX = "/v2/repository/models/"
ModelHandler = Callable[[Request, ServedModel], Response | Awaitable[Response] | None]


class App:
    """Requests to responses. `draining` turns readiness off and closes connections after their response."""

    def __init__(
        self,
        models: Mapping[str, ServableModel | WritingModel],
        *,
        settings: Settings,
        sinks: Sequence[Sink],
        explaining: ExplanationConfig,
        pages: Pages,
        repository: Repository | None = None,
        splits: Mapping[str, TrafficSplit] = EMPTY_MAPPING,
        parent: Channel | None = None,
        more_routes: Sequence[ModelRoutes] = (),
        row_sink: RowSink | None = None,
    ) -> None:
        self.settings, self.draining, self._sinks, self._row_sink = settings, False, tuple(sinks), row_sink
        self._parent, self._more_routes = parent, more_routes
        self._access = AccessPolicy(settings)
        self.bodies = BodyBudget(MAX_LARGE_BODIES * settings.max_body_bytes)
        self._keys = self._read_keys()
        if parent is not None:
            parent.listeners["taken"] = self._record_usage
            parent.listeners["event"] = lambda fields: self.emit(Event("server", fields=fields))
        self.pool = WorkerPool()
        self.processes = EngineProcesses(self.pool, settings.workers, self.emit) if settings.workers else None
        self.runs: dict[str, RunBatch] = {}  # what computes a batch, by model; only where engines run in this process
        self.explainers = ExplainerPool(explaining, self.emit, engines=settings.workers > 0)
        self.models = ModelRegistry(settings, self.explainers, self.emit, self.pool, splits)
        self.loader = self._make_lifecycle(repository, parent)
        self._shadows = ShadowTraffic(self.handle, self.emit)
        self.generators = {name: model for name, model in models.items() if isinstance(model, WritingModel)}
        self._tasks: dict[asyncio.Task[None], Request] = {}
        self.head_cache = HeadCache()
        self.router = Router()
        self._add_routes(pages)
        for name, model in models.items():
            if not isinstance(model, WritingModel):
                for target in [target for target, split in splits.items() if name in split.versions] or [name]:
                    self.serve(self.models.make(target, model, name if target in splits else ""))
        for name in splits.keys() & self.models.slots.keys():
            versions = self.models.slots[name].versions
            check_compatible(name, {version: output_signature(model) for version, model in versions.items()})

    def _add_routes(self, pages: Pages) -> None:
        """Add the routes that are not those of one model."""
        router, models, generators = self.router, self.models, self.generators
        router.add_get("/v2/health/live", lambda: Response.json({"live": True}), needs_key=False, any_host=True)
        router.add_get("/v2/health/ready", self._ready, needs_key=False, any_host=True)
        router.add_get("/v2", oip.server_metadata)
        router.add_get("/v1/models", lambda: list_models(models, generators.values()))
        index = partial(repository_index, models=models, loader=self.loader)
        router.add_post("/v2/repository/index", index, MAX_SMALL_BODY_BYTES)
        for path, page in pages.routes(models, generators, self._more_routes).items():
            router.add_page(path, page, needs_key=path != "/")
        router.add_post("/v1/embeddings", partial(openai_routes.embed_texts, models=models))
        for routes in self._more_routes:
            routes.add_to(router, models.__getitem__)
        for path, kind in openai_routes.COMPLETION_ROUTES.items():
            router.add_post(path, partial(openai_routes.complete_text, generators=generators, kind=kind))

    def _make_lifecycle(self, repository: Repository | None, parent: Channel | None) -> ModelLifecycle | None:
        """What loads and unloads models: this process, or the parent of its group. None without a repository."""
        if repository is None:
            return None
        deployment = LocalDeployment(self, repository.open_model)
        return (
            GroupFollower(parent, deployment)
            if parent is not None
            else RepositoryLoader(deployment, repository, self.models.splits)
        )

    def emit(self, event: Event) -> None:
        """Pass an event to every sink."""
        for sink in self._sinks:
            sink.emit(event)

    def drain(self) -> None:
        """From now on this server is not ready, and every connection closes after its answer."""
        self.draining = True
        self.emit(Event("server", fields={"state": "draining"}))

    async def start(self) -> None:
        """Start the engines and warm them up, before the first connection."""
        try:
            await self._start()
        except BaseException:
            if self.loader is not None:  # its snapshots are files, which would outlive this process
                await self.loader.close()
            raise
        self.emit(Event("server", fields={"state": "started"}))

    async def _start(self) -> None:
        if self.processes is None:
            self.runs |= {model.key: model.adapter.run for model in self.models.all()}
            self.pool.add(LocalWorker(self.runs))
        elif self.models or self.loader is not None:
            await self.processes.start({model.key: model.adapter.spec for model in self.models.all()})
        for model in self.models.all():
            await model.warm_up()
            model.emit_loaded()
        if self.loader is not None:
            await self.loader.start()
        check_splits_loaded(self.models.splits, self.models.slots, more_may_come=self.loader is not None)
        for generator in self.generators.values():
            await generator.start(self.emit)

    async def close(self) -> None:
        """Close engines, explainers and models, after the last response."""
        if self.loader is not None:
            await self.loader.close()
        self.pool.close()
        await self.explainers.close()
        if self.processes is not None:
            await self.processes.close()
        for generator in self.generators.values():
            await generator.close()
        for model in self.models.all():
            model.close()
        for routes in self._more_routes:
            routes.close()
        self.emit(Event("server", fields={"state": "stopped"}))

    def renew_keys(self) -> bool:
        """Read the file of API keys again, if there is one. InputError leaves the keys as they were."""
        if not self.settings.api_keys_file:
            return False
        self._keys = self._read_keys()
        self.head_cache.clear()
        return True

    def _read_keys(self) -> ApiKeys | None:
        """The API keys of the settings; their rates hold for all front ends of a group together."""
        if not self.settings.api_keys_file:
            return None
        keys = ApiKeys.read(self.settings.api_keys_file)
        if self._parent is not None:
            keys.share(partial(self._parent.notify, "taken"))
        return keys

    def _record_usage(self, usage: UsageByKey) -> None:
        if self._keys is not None:
            self._keys.owe(usage)

    def serve(self, model: ServedModel) -> ServedModel | None:
        """Send requests to this model from now on. Returns the one that it replaces, which still answers its queue."""
        replaced = self.models.put(model)
        if replaced is not None and replaced.version != model.version:
            self.router.remove_model(model.name, replaced.version)
        self._add_model_routes(self.models.slots[model.name], model.version)
        self.head_cache.clear()
        return replaced

    def drop(self, model: ServedModel) -> None:
        """Send no more requests to this model."""
        slot = self.models.slots[model.name]
        slot.drop(model.version)
        self.router.remove_model(model.name, model.version if slot.versions else None)
        self.head_cache.clear()

    def is_busy(self, model: ServedModel) -> bool:
        """Whether the model has requests that are not answered yet."""
        return model.scheduler.num_rows > 0 or any(request.model is model for request in self._tasks.values())

    def admit(self, request: Request) -> None:
        """Find the handler of a request by its head alone. The error of one that is refused is kept in `rejection`."""
        try:
            request.handler = self._find_handler(request)
        except DeepseekError as error:
            request.rejection = error

    def handle(self, request: Request, on_response: Callable[[Request, Response], None]) -> None:
        """Answer an admitted or refused request: `on_response` is called once, now or later. Raises nothing."""
        request.on_response = on_response
        try:
            if request.client is not None:
                request.client.take_request()
            if request.rejection is not None or request.handler is None:
                raise request.rejection or missing_route_error(request.path, self.models)
            result = request.handler(request)
        except Exception as error:  # noqa: BLE001  (a bug of ours must not end the server)
            request.respond(error)
            return
        if result is None:
            return
        if isinstance(result, Response):
            request.respond(result)
        else:
            task = asyncio.get_running_loop().create_task(_await_response(result, request))
            self._tasks[task] = request
            task.add_done_callback(self._tasks.pop)

    def cancel(self, request: Request) -> None:
        """Stop the work on a request whose client has disconnected."""
        request.is_disconnected = True
        if request.on_cancel is not None:
            request.on_cancel()

    def report(self, request: Request, status: int) -> None:
        """Emit the event of a request that was answered with this status."""
        fields = {"route": request.route, "method": request.method, "request_id": request.request_id}
        if request.client is not None:
            fields["client"] = request.client.name
        if request.error_fields:
            fields |= request.error_fields
        if request.traceparent:
            fields["traceparent"] = request.traceparent
        if request.flags:
            fields["flags"] = request.flags  # type: ignore[assignment]
        if request.is_explanation:
            fields["explains"] = "true"
        name = version = ""
        if request.model is not None:
            name, version = request.model.name, request.model.version
            fields["digest"] = request.model.digest
        duration_s = perf_counter() - request.started_s
        event = Event(
            "request", name, version, status, request.num_rows, duration_s, request.queue_s, fields, request.marks
        )
        for sink in self._sinks:
            sink.emit(event)
        if self._row_sink is not None and name and request.method == "POST":
            self._row_sink.emit_rows(event, request.answered and request.answered())

    def _find_handler(self, request: Request) -> Handler:
        route = self.router.routes.get(request.path) or self._repository_route(request.path)
        self._access.check(request, route)
        if route is None or route.max_body_bytes is not None:
            limit = None if route is None else route.max_body_bytes
            request.max_body_bytes = min(request.max_body_bytes, limit or MAX_SMALL_BODY_BYTES)
        if self._keys is not None and (route is None or route.needs_key):
            request.route = "" if route is None else route.name
            authorization = request.headers.get(b"authorization")
            request.client = self._keys.check(authorization, is_chat=bool(route and route.is_chat))
        if route is None:
            raise missing_route_error(request.path, self.models)
        request.route = route.name
        if request.method != route.method and not (request.method == "HEAD" and route.method == "GET"):
            raise MethodNotAllowedError(request.method[:20], route.method)
        return route.handler

    def _repository_route(self, path: str) -> Route | None:
        """The route of loading or unloading a model, which need not be loaded; None for any other path."""
        name, slash, verb = path.removeprefix(REPOSITORY_PREFIX).rpartition("/")
        if not (slash and path.startswith(REPOSITORY_PREFIX) and verb in ("load", "unload")):
            return None
        handler = partial(load_or_unload, loader=self.loader, name=name, verb=verb)
        return Route(f"{REPOSITORY_PREFIX}M/{verb}", "POST", handler, max_body_bytes=MAX_SMALL_BODY_BYTES, changes=True)

    def _add_model_routes(self, slot: ModelVersions[ServedModel], version: str) -> None:
        """Add the routes of one model, and of one version of it."""

        def add(
            path: str, name: str, method: str, work: ModelHandler, shadowed: bool = False, of: str | None = None
        ) -> None:
            def handler(request: Request) -> Response | Awaitable[Response] | None:
                model = slot.pick(request) if of is None else slot.versions.get(of)
                if model is None:
                    raise self.models.missing_error(slot.name)
                request.model = model
                if shadowed and slot.shadows:
                    self._shadows.follow(request, work, slot)
                return work(request, model)

            limit = MAX_SMALL_BODY_BYTES if method == "GET" else None
            self.router.routes[path] = Route(name, method, handler, max_body_bytes=limit)

        for of in (None, version):
            v1, v2 = model_paths(slot.name, of)
            add(v1, "/v1/models/M", "GET", _ignore_request(describe_model), of=of)
            add(f"{v1}/example", "/v1/models/M/example", "GET", _ignore_request(get_example), of=of)
            add(f"{v1}:predict", "/v1/models/M:predict", "POST", records.predict, of is None, of)
            add(f"{v1}:explain", "/v1/models/M:explain", "POST", records.explain, of=of)
            add(v2, "/v2/models/M", "GET", _ignore_request(self._metadata), of=of)
            add(f"{v2}/config", "/v2/models/M/config", "GET", _ignore_request(oip.model_config), of=of)
            add(f"{v2}/ready", "/v2/models/M/ready", "GET", _ignore_request(self._model_ready), of=of)
            add(f"{v2}/infer", "/v2/models/M/infer", "POST", oip.infer, of is None, of)

    def _metadata(self, model: ServedModel) -> Response:
        return oip.model_metadata(model, self.models.slots[model.name].versions)

    @property
    def not_ready(self) -> DrainingError | None:
        """Why this server should get no requests now; None while it should."""
        return find_not_ready(
            draining=self.draining, num_models=len(self.models), num_workers=self.pool.num_workers,
            generators=[generator.ready for generator in self.generators.values()],
        )  # fmt: skip

    def _ready(self) -> Response:
        if (error := self.not_ready) is not None:
            raise error
        return Response.json({"ready": True})

    def _model_ready(self, model: ServedModel) -> Response:
        self._ready()
        return oip.model_ready(model)


def _ignore_request(content: Callable[[ServedModel], Response]) -> ModelHandler:
    """A handler of a model whose response does not depend on the request."""
    return lambda _, model: content(model)


def create_app(
    models: Mapping[str, ServableModel | WritingModel],
    *,
    settings: Settings | None = None,
    sinks: Sequence[Sink] = (),
    explainer_for: Callable[[Any], Explainer] | None = None,
    reason_codes: ReasonCodes | None = None,
    explain_module: str = "",
    pages: Pages | None = None,
    repository: Repository | None = None,
    splits: Mapping[str, TrafficSplit] = EMPTY_MAPPING,
    parent: Channel | None = None,
    more_routes: Sequence[ModelRoutes] = (),
    row_sink: RowSink | None = None,
) -> App:
    """An application that serves `models` by name.

    `explainer_for` makes the explainer of a runtime when it is first asked, `reason_codes` puts attributions into
    words; without them :explain and "reasons" answer 501. `explain_module` is what a process runs that explains where
    engines have processes, too; without one this process explains, in a thread. `sinks` get events of every request,
    batch and explanation. `pages` brings what stands outside of the protocols. `repository` is what may be loaded while
    it serves, `splits` say which share of a model's requests each of its versions answers: one of `models`, or of the
    repository. `parent`: of the group that this is a front end of; it decides what is loaded for all of them.
    `more_routes`: of models, beside those that every model has; closed with the application. `row_sink` gets the rows
    and the answers of every request to a model.
    """
    return App(
        models, settings=settings or Settings(), sinks=sinks, pages=pages or Pages(), repository=repository,
        explaining=ExplanationConfig(explainer_for, reason_codes, explain_module), splits=splits, parent=parent,
        more_routes=more_routes, row_sink=row_sink,
    )  # fmt: skip


async def _await_response(work: Awaitable[Response], request: Request) -> None:
    try:
        result: Response | Exception = await work
    except Exception as error:  # noqa: BLE001  (a bug of ours must not end the server)
        result = error
    request.respond(result)
