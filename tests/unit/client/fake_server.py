"""A server of trainings small enough to read, which can be made to lose, repeat and reorder."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

DOMAINS = ["a", "b", "c"]
FIRST = {"version": 0, "effective_step": 0, "weights": dict.fromkeys(DOMAINS, 1 / 3)}


class Store:
    """What a server knows of one training; observations are known by their step."""

    def __init__(self):
        self.observations, self.acks, self.resumes = {}, [], []
        self.posted = []  # steps, as they came
        self.entries = [
            {"version": 0, "effective_step": 0, "weights": dict.fromkeys(DOMAINS, 1 / 3)}
        ]
        self.lead_steps = 0
        self.probe_steps, self.remaining_steps = 0, 6  # with 0 it wants losses, and no probes
        self.lock = threading.Lock()

    def plan(self):
        """What is to be probed next: every domain once, each round beginning with another."""
        if not self.probe_steps:
            return {}
        turn = len(self.observations) % len(DOMAINS)
        order = DOMAINS[turn:] + DOMAINS[:turn]
        shares = [[0.8 if row == column else 0.1 for column in DOMAINS] for row in DOMAINS]
        return {
            "round": len(self.observations),
            "before": "before",
            "mixtures": {"rows": DOMAINS, "columns": DOMAINS, "values": shares},
            "intervals": [{"row": f"{i}:{name}", "probe": name} for i, name in enumerate(order)],
            "probe_steps": self.probe_steps,
            "remaining_steps": self.remaining_steps,
        }

    def described(self):
        return {"id": "trn_1", **self.entries[-1], "requires": {}, "plan": self.plan()}

    def register(self, body):
        self.lead_steps = body["lead_steps"]
        return 201, self.described()

    def observe(self, body):
        step = body["step"]
        content = body["probe_losses"] if self.probe_steps else body["losses"]
        known = self.observations.get(step)
        if known is not None and known != content:
            return 409, {"detail": "another observation of this step is known"}
        if known is None:
            is_late = step < max(self.observations, default=-1)
            self.observations[step] = content
            if not is_late:
                self._update(step, content)
        return 200, {**self.entries[-1], "applied": True, "reason": None, "plan": self.plan()}

    def _update(self, step, losses):
        if self.probe_steps:
            losses = dict(zip(losses["columns"], losses["values"][-1]))
        before = self.entries[-1]["weights"]
        raised = {name: weight * (1 + (losses[name] or 0) / 10) for name, weight in before.items()}
        total = sum(raised.values())
        weights = {name: weight / total for name, weight in raised.items()}
        version = self.entries[-1]["version"] + 1
        entry = {"version": version, "effective_step": step + self.lead_steps, "weights": weights}
        self.entries.append(entry)

    def acknowledge(self, body):
        self.acks.append((body["version"], body["applied_step"]))
        return 204, None

    def resume(self, body):
        """Go back to what was known at a step; later versions are given out under new numbers."""
        self.resumes.append((body["step"], body["version"]))
        kept = {step: seen for step, seen in self.observations.items() if step <= body["step"]}
        highest = self.entries[-1]["version"]
        self.entries, self.observations = self.entries[:1], {}
        for step, content in sorted(kept.items()):
            self.observe({"step": step, "losses": content, "probe_losses": content})
        self.entries[-1] = {**self.entries[-1], "version": highest + 1}
        return 200, {**self.entries[-1], "plan": self.plan()}

    def page(self, query):
        """Return a page of the ledger; it has 100 entries at most, however many are asked for."""
        first = int(query.get("cursor", 0))
        end = first + min(100, int(query.get("limit", 100)))
        items = [{"state": "published", **one} for one in self.entries[first:end]]
        return {"items": items, "next_cursor": str(end) if end < len(self.entries) else None}

    def handle(self, method, path, body, etag):
        with self.lock:
            path, _, query = path.partition("?")
            part = path.rsplit("/", 1)[-1]
            if part == "observations":
                self.posted.append(body["step"])
            if method == "GET" and part == "weights":
                newest = self.entries[-1]
                known = etag == f'"{newest["version"]}"'
                return (304, None) if known else (200, newest)
            if method == "GET" and part == "trn_1":
                return 200, self.described()
            if method == "GET":
                return 200, self.page(dict(parse_qsl(query)))
            actions = {
                "trainings": self.register,
                "observations": self.observe,
                "acks": self.acknowledge,
                "resume": self.resume,
            }
            return actions[part](body)


class FakeServer:
    """The store behind HTTP; `faults` yields what happens to each request in turn.

    "none": nothing. "lose": the request is lost. "mute": it is done, its answer lost. "repeat": it
    arrives twice. "away": 503. "stale": the answer of an earlier question for weights.
    """

    def __init__(self, faults=()):
        self.store, self.faults, self.requests = Store(), iter(faults), []
        self.earlier = None
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                fake.serve(self)

            do_GET = do_POST

            def log_message(self, *arguments):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def serve(self, request):
        length = int(request.headers.get("content-length") or 0)
        body = json.loads(request.rfile.read(length)) if length else None
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append((request.command, request.path, headers))
        fault = "none" if request.path == "/v1/trainings" else next(self.faults, "none")
        if fault == "away":
            return self.answer(request, 503, {"detail": "not now"})
        if fault == "lose":
            return None
        question = (request.command, request.path, body, request.headers.get("if-none-match"))
        status, found = self.store.handle(*question)
        if fault == "repeat":
            status, found = self.store.handle(*question)
        if fault == "mute":
            return None
        if fault == "stale" and self.earlier and "version" in (found or {}):
            found = {**found, **self.earlier}
        if status == 200 and "version" in found:
            self.earlier = {key: found[key] for key in ("version", "effective_step", "weights")}
        return self.answer(request, status, found)

    def answer(self, request, status, found):
        request.send_response(status)
        text = b"" if found is None else json.dumps(found).encode()
        if status == 200 and "version" in found:
            request.send_header("ETag", f'"{found["version"]}"')
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)

    def __enter__(self):
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.http.shutdown()
        self.thread.join()
        with contextlib.suppress(OSError):
            self.http.server_close()
