"""Names, dtypes and file names that every bundle obeys: the one place where export and service agree."""

FORMAT_VERSION = 1
MANIFEST = "manifest.json"

# Graphs: role in the manifest -> file. Every bundle has the first two. If the score is a dot product, the bundle also has these two
# for a query vector in place of a user, and the three of the bounded search; if the score has a monotone tail, its graph too.
RECOMMEND, SCORE = "recommend", "score"
RECOMMEND_QUERY, SCORE_QUERY = "recommend_query", "score_query"
USER, SCREEN, RESCORE, FINISH = "user", "screen", "rescore", "finish"
GRAPHS = {RECOMMEND: "model.onnx", SCORE: "score.onnx"}
QUERY_GRAPHS = {RECOMMEND_QUERY: "recommend_query.onnx", SCORE_QUERY: "score_query.onnx"}
SCREEN_GRAPHS = {USER: "user.onnx", SCREEN: "screen.onnx", RESCORE: "rescore.onnx"}
FINISH_GRAPHS = {FINISH: "finish.onnx"}

# recommend: user_id int64 [B], k int64 [1]          -> item_id int64 [B, min(k, N)], score float32, best first
# score:     user_id int64 [B], item_id int64 [M]    -> score float32 [B, M]; and, where the score has a monotone tail, its input
#            product float32 [B, M]: items are ranked by the product
# recommend_query, score_query: like recommend and score, with query float32 [B, d] in place of user_id
# user:      user_id int64 [B]                       -> query float32 [B, d]
# screen:    query float32 [B, d], levels float32 [1], blocks int64 [1] -> bound float32 [B, N / BLOCK] of every block, in units
#            of `unit` float32 [B, 1], and the `blocks` largest of them: best_bound float32, best_block int64 [B, blocks]. The
#            query is rounded to integers from -levels to levels.
# rescore:   query float32 [B, d], query_row and block int64 [P] -> product and score float32 [P, BLOCK], of each pair of a query
#            and a block
# finish:    product float32 [n]                     -> score float32 [n], by the operators that follow the product in rescore
USER_ID, ITEM_ID, K, SCORE_OUT = "user_id", "item_id", "k", "score"
QUERY, QUERY_ROW, LEVELS, BLOCKS, BLOCK_ROW, PRODUCT = "query", "query_row", "levels", "blocks", "block", "product"
BOUND, UNIT, BEST_BOUND, BEST_BLOCK = "bound", "unit", "best_bound", "best_block"
GRAPH_INPUTS = {
    RECOMMEND: {USER_ID, K},
    SCORE: {USER_ID, ITEM_ID},
    RECOMMEND_QUERY: {QUERY, K},
    SCORE_QUERY: {QUERY, ITEM_ID},
    USER: {USER_ID},
    SCREEN: {QUERY, LEVELS, BLOCKS},
    RESCORE: {QUERY, QUERY_ROW, BLOCK_ROW},
    FINISH: {PRODUCT},
}
GRAPH_OUTPUTS = {
    RECOMMEND: {ITEM_ID, SCORE_OUT},
    SCORE: {SCORE_OUT},
    RECOMMEND_QUERY: {ITEM_ID, SCORE_OUT},
    SCORE_QUERY: {SCORE_OUT},
    USER: {QUERY},
    SCREEN: {BOUND, UNIT, BEST_BOUND, BEST_BLOCK},
    RESCORE: {PRODUCT, SCORE_OUT},
    FINISH: {SCORE_OUT},
}

GRAPH_EXTRAS = {SCORE: {PRODUCT}, SCORE_QUERY: {PRODUCT}}  # further outputs in bundles whose score has a monotone tail

ROW_COUNTS = ("user_id_rows", "item_id_rows")  # int64 constants of the graphs: how many rows each side has

# Tensors that the graphs share, in one file beside them.
TENSORS = "tensors.bin"
USER_TABLE = "user_table"  # float32 [U, d]
ITEM_TABLE = "item_table"  # float32 [N, d]
ITEM_BLOCKS = "item_blocks"  # float32 [blocks, BLOCK, d]: the bytes of the item table and the zeros behind it
BLOCK = 32  # items that share one bound; the item table is padded with zeros to whole blocks
SCREEN_TENSORS = "screen.bin"  # the int8 items, in pieces [d, items of the piece]
ROTATION, BLOCK_STEP, BLOCK_LENGTHS = "rotation", "block_step", "block_lengths"  # beside the int8 items, for bounds; in screen.onnx
PAGE = 4096  # tensors start on a page, so that the runtime can map them

GOLDEN = "golden.npz"
ITEM_METADATA = "items.jsonl"
COLUMNS, COLUMN_DATA = "columns.json", "columns.bin"  # item metadata by column, for filters
INTERACTION_OFFSETS, INTERACTION_ITEMS = "seen_offsets.npy", "seen_items.npy"
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
