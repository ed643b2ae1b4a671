"""The limit of uvicorn: a static response of the usual size from a bare ASGI function."""

import json
import sys

import uvicorn

ITEMS = [{"item_id": 1000 + index, "score": 0.98765432} for index in range(10)]
BODY = json.dumps({"user_id": 1234, "items": ITEMS, "model": {"name": "bench", "version": "1"}}, separators=(",", ":")).encode()
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())],
}
END = {"type": "http.response.body", "body": BODY}


async def app(_scope, _receive, send):
    await send(START)
    await send(END)


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", lifespan="off", access_log=False)
