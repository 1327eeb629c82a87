"""A process that soon ends does not look for garbage while it imports and when it ends."""

import gc
import subprocess
import sys

import pytest

from mambaseg.short_process import importing


@pytest.fixture(autouse=True)
def nothing_frozen():
    gc.unfreeze()
    yield
    gc.unfreeze()
    gc.enable()


def test_while_importing_the_collector_rests_and_then_leaves_alone_what_came():
    with importing():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


def test_an_import_that_fails_leaves_the_collector_on():
    with pytest.raises(ImportError), importing():
        raise ImportError
    assert gc.isenabled()


def test_a_second_time_in_a_process_nothing_is_changed():
    with importing():
        pass
    before = gc.get_freeze_count()
    with importing():
        assert gc.isenabled()
        kept = [[] for _ in range(1000)]
    assert gc.get_freeze_count() <= before
    assert len(kept) == 1000


def test_a_collector_that_the_user_switched_off_stays_off():
    gc.disable()
    with importing():
        pass
    assert not gc.isenabled()


def test_at_the_end_all_objects_are_left_alone_after_other_work_is_done():
    code = (
        "import atexit, gc; atexit.register(lambda: print('last', gc.get_freeze_count() > 0)); "
        "from mambaseg.short_process import end_quickly; end_quickly(); "
        "atexit.register(lambda: print('first', gc.get_freeze_count() > 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["first", "False", "last", "True"]


def test_segmenting_imports_neither_monai_nor_the_slow_parts_of_scipy():
    code = (
        "import sys, mambaseg.cli, mambaseg.files, mambaseg.registry, mambaseg.segment; "
        "print([m for m in ('monai', 'scipy.ndimage', 'scipy.special', 'torch._dynamo', 'sympy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
