"""The thread count follows the container's limit, not the host's cores."""

import os

import pytest

from recoserve.search.cpu import cpu_limit

PINNED = len(os.sched_getaffinity(0))


def cgroup(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("cpu_max", "cpu.max").replace("cfs", "cpu.cfs")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("100000 100000\n", 1),
        ("50000 100000", 1),
        ("max 100000", PINNED),
        ("", PINNED),
        ("100000000 100000", PINNED),
        ("nonsense", PINNED),
        ("100 0", PINNED),
    ],
)
def test_version_2_quota(tmp_path, text, limit):
    assert limit == cpu_limit(cgroup(tmp_path, cpu_max=text))


def test_version_1_quota(tmp_path):
    assert cpu_limit(cgroup(tmp_path, cpu__cfs_quota_us="100000", cpu__cfs_period_us="100000")) == 1
    assert cpu_limit(cgroup(tmp_path, cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")) == PINNED


def test_no_cgroup_means_the_cpus_it_is_pinned_to(tmp_path):
    assert cpu_limit(tmp_path) == PINNED
