"""Names, dtypes and file names that every bundle obeys: the one place where export and service agree."""

FORMAT_VERSION = 1
MANIFEST = "manifest.json"

# Graphs: role in the manifest -> file.
RECOMMEND, SCORE = "recommend", "score"
GRAPHS = {RECOMMEND: "model.onnx", SCORE: "score.onnx"}

# recommend: user_id int64 [B], k int64 [1]       -> item_id int64 [B, min(k, N)], score float32, best first
# score:     user_id int64 [B], item_id int64 [M] -> score float32 [B, M]
USER_ID, ITEM_ID, K, SCORE_OUT = "user_id", "item_id", "k", "score"
GRAPH_INPUTS = {RECOMMEND: {USER_ID, K}, SCORE: {USER_ID, ITEM_ID}}
GRAPH_OUTPUTS = {RECOMMEND: {ITEM_ID, SCORE_OUT}, SCORE: {SCORE_OUT}}

# Tensors that the graphs share, in one file beside them.
TENSORS = "tensors.bin"
USER_TABLE = "user_table"  # float32 [U, d], one row a user
ITEM_TABLE = "item_table"  # float32 [N, d], one row an item
PAGE = 4096  # tensors start on a page, so that the runtime can map them

GOLDEN = "golden.npz"
CATALOGUE = "items.jsonl"
SEEN_OFFSETS, SEEN_ITEMS = "seen_offsets.npy", "seen_items.npy"
ID_FILES = {"integer": "{side}_ids.npy", "string": "{side}_ids.jsonl"}
SIDES = ("user", "item")

SIMILARITIES = ("cosine", "dot", "model")
ID_KINDS = ("row", "integer", "string")

# The newest operator set that the pinned ONNX Runtime is tested with.
MAX_OPSET = 24


def id_file(side: str, kind: str) -> str | None:
    """The file that holds the external ids of `side` (`user` or `item`); None where ids are row numbers."""
    name = ID_FILES.get(kind)
    return name.format(side=side) if name else None
