"""wandb_server.py FOLDER: as much of Weights & Biases' server as its client needs for a run. The port is written to FOLDER/port; what a run is sent as its
history to FOLDER/<id>.jsonl, one line a step."""
import gzip
import http.server
import json
import pathlib
import re
import sys

FOLDER = pathlib.Path(sys.argv[1])
PROJECT = {"id": "p", "name": "dissent", "entity": {"id": "e", "name": "me"}}
runs = {}


def history(name):
    path = FOLDER / f"{name}.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def bucket(name):
    lines = history(name)
    return {
        "id": "r", "name": name, "displayName": runs[name], "description": "", "config": "{}", "sweepName": None, "project": PROJECT, "summaryMetrics": "{}",
        "logLineCount": 0, "historyLineCount": len(lines), "eventsLineCount": 0, "historyTail": json.dumps(lines[-1:]), "eventsTail": "[]", "tags": [],
        "wandbConfig": '{"t": 1}'}


def graphql(query, values, port):
    asked = re.search(r"(?:query|mutation)\s+(\w+)", query)[1]
    name = values.get("name")
    if asked == "Viewer":
        return {"viewer": {"id": "u", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}
    if asked == "RunResumeStatus":
        return {"model": PROJECT | {"bucket": bucket(name) if name in runs else None}}
    if asked == "UpsertBucket":
        is_new = name not in runs
        runs[name] = values.get("displayName") or runs.get(name)
        return {"upsertBucket": {"bucket": bucket(name), "inserted": is_new}}
    if asked == "CreateRunFiles":
        files = [{"name": file, "uploadUrl": f"http://127.0.0.1:{port}/files/{file}"} for file in values["files"]]
        return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}
    return {"entity": None} if asked.startswith("Organization") else {}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

    def answer(self, body):
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.answer({})

    def do_PUT(self):
        self.body()
        self.answer({})

    def do_POST(self):
        data = self.body()
        if self.path.endswith("/graphql"):
            asked = json.loads(data)
            return self.answer({"data": graphql(asked["query"], asked.get("variables") or {}, self.server.server_address[1])})
        stream = re.search(r"/([^/]+)/file_stream", self.path)
        for file, part in ((json.loads(data).get("files") or {}) if stream else {}).items():
            if "history" in file:
                with open(FOLDER / f"{stream[1]}.jsonl", "a", encoding="utf-8") as out:
                    out.writelines(line + "\n" for line in part.get("content", []))
        return self.answer({"exitcode": None, "limits": {}})


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
(FOLDER / "port").write_text(str(server.server_address[1]))
server.serve_forever()
