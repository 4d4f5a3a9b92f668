"""The progress bar of an iteration. tqdm draws it; the tests check its updates and its end."""

from __future__ import annotations

import io
import pickle
import sys

import numpy as np
import pytest
import tensorferry as tfy
import tqdm
from tensorferry import errors

from tests.support.processes import run_python


class Terminal(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def dataset(length: int = 10):
    return tfy.Dataset.range(length).shuffle(seed=3).with_format("numpy")


def drawn(file: io.StringIO) -> list[str]:
    """The successive states of the bar in the terminal."""
    return [
        text.strip() for text in file.getvalue().replace("\n", "\r").split("\r") if text.strip()
    ]


def test_elements_equal_those_of_iteration_in_each_epoch():
    one, other = dataset(), dataset()
    for _ in range(3):
        assert list(one.progress(file=Terminal())) == list(other)


def test_a_terminal_shows_position_time_left_and_rate():
    file = Terminal()
    for _ in dataset().progress("epoch 1", file=file, mininterval=0, ncols=80):
        pass
    first, *_, last = drawn(file)
    assert first.startswith("epoch 1:   0%|")
    assert "| 0/10 [" in first
    assert last.startswith("epoch 1: 100%|")
    assert "| 10/10 [" in last
    assert last.endswith("it/s]")
    assert "<" in last  # elapsed<remaining


def test_rows_of_batches_can_be_counted():
    file = Terminal()
    list(dataset(64).batch(8).progress(unit="row", unit_scale=8, file=file, ncols=80))
    assert "| 64/64 [" in drawn(file)[-1]
    assert "row/s" in drawn(file)[-1]


def test_a_log_shows_nothing_of_a_short_pass(capsys):
    list(dataset().progress("epoch 1"))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_log_shows_whole_lines_of_a_long_pass():
    file = io.StringIO()
    progress = dataset().progress("epoch 1", file=file, mininterval=0, miniters=5, delay=0)
    for _ in progress:
        progress.set_postfix(loss=0.5)
    lines = file.getvalue().splitlines(keepends=True)
    assert all(line.endswith("\n") and "\r" not in line and "|" not in line for line in lines)
    assert [line.split("[")[0] for line in lines] == [
        "epoch 1:   0% 0/10 ",
        "epoch 1:  50% 5/10 ",
        "epoch 1: 100% 10/10 ",
        "epoch 1: 100% 10/10 ",
    ]
    assert "loss=0.5" in lines[-1]


def test_postfix_and_description_appear_at_the_next_refresh():
    file = Terminal()
    progress = dataset().progress(file=file, mininterval=0)
    for at, _ in enumerate(progress):
        progress.set_description(f"step {at}")
        progress.set_postfix(loss=at / 2)
    assert "step 4:" in drawn(file)[6]
    assert "loss=2" in drawn(file)[6]
    assert len(drawn(file)) <= 13


@pytest.mark.parametrize("stream", [False, True])
def test_iteration_and_bar_resume_at_every_position(stream):
    def made():
        made = dataset().filter(is_not_3) if stream else dataset()
        return made.batch(2)

    whole = [batch.tolist() for batch in made()]
    running = made().progress(disable=True)
    for position in range(len(whole) + 1):
        state = pickle.loads(pickle.dumps(running.state_dict()))
        file = Terminal()
        resumed = made().progress(file=file, ncols=60)
        resumed.load_state_dict(state)
        assert (resumed.bar.n, resumed.bar.initial) == (position, position)
        assert [batch.tolist() for batch in resumed] == whole[position:]
        assert resumed.bar.n == len(whole)
        assert (f"{position}it [" if stream else f" {position}/{len(whole)} [") in drawn(file)[1]
        if position < len(whole):
            assert next(running).tolist() == whole[position]


def is_not_3(x):
    return x != 3


def test_its_states_and_those_of_plain_iterators_are_interchangeable():
    progress = dataset().progress(disable=True)
    head = [next(progress) for _ in range(4)]
    iterator = iter(dataset())
    iterator.load_state_dict(progress.state_dict())
    assert head + list(iterator) == list(dataset())


def test_a_state_of_another_plan_is_refused():
    state = dataset(10).progress(disable=True).state_dict()
    with pytest.raises(errors.InvalidArgumentError, match="plan"):
        dataset(11).progress(disable=True).load_state_dict(state)


def is_closed(progress) -> bool:
    return progress.bar not in tqdm.tqdm._instances


def test_the_bar_is_closed_at_the_end_after_a_break_an_error_and_a_with():
    ended = dataset().progress(file=Terminal())
    list(ended)
    assert is_closed(ended)

    left = dataset().progress(file=Terminal())
    for _ in left:
        break
    assert is_closed(left)
    assert left.bar.n == 1
    assert len(list(left)) == 9  # iteration continues without a bar

    def fail_in_the_loop(progress):
        for _ in progress:
            raise LookupError

    failed = dataset().progress(file=Terminal())
    with pytest.raises(LookupError):
        fail_in_the_loop(failed)
    assert is_closed(failed)

    with dataset().progress(file=Terminal()) as entered:
        next(entered)
        assert not is_closed(entered)
    assert is_closed(entered)


def test_an_element_that_cannot_be_computed_counts():
    def halve(x):
        if x == 2:
            raise LookupError(x)
        return x

    progress = tfy.Dataset.range(4).with_format("numpy").map(halve).progress(file=Terminal())
    assert [next(progress), next(progress)] == [0, 1]
    with pytest.raises(LookupError):
        next(progress)
    assert next(progress) == 3
    assert progress.bar.n == progress.state_dict()["position"] == 4
    with pytest.raises(StopIteration):
        next(progress)
    assert is_closed(progress)


def test_without_a_known_length_there_is_no_total():
    for made in (dataset().repeat(), dataset().filter(is_not_3)):
        file = Terminal()
        progress = made.progress(file=file)
        next(progress)
        assert progress.bar.total is None
        with pytest.raises(TypeError, match="no len"):
            len(progress)
        assert progress
        progress.close()
        assert drawn(file)[-1].startswith("1it [")
    assert dataset().filter(is_not_3).progress(total=9, file=Terminal()).bar.total == 9
    assert len(dataset().progress(disable=True)) == 10


def test_an_empty_dataset_has_an_empty_pass():
    progress = dataset().take(0).progress(file=Terminal())
    assert list(progress) == []
    assert is_closed(progress)


def test_unknown_arguments_of_tqdm_are_refused_at_once():
    with pytest.raises(KeyError, match="colors"):
        dataset().progress(colors="red", file=Terminal())


def test_without_stderr_nothing_is_shown(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert len(list(dataset().progress())) == 10


def test_tqdm_is_imported_on_use_and_named_when_missing():
    printed = run_python(
        """
        import sys
        import tensorferry as tfy

        dataset = tfy.Dataset.range(3).with_format("numpy")
        list(dataset)
        print("tqdm" in sys.modules)
        sys.modules["tqdm"] = None
        try:
            dataset.progress()
        except ImportError as error:
            print(type(error).__name__, error)
        """
    )
    assert printed.splitlines() == [
        "False",
        "ModuleNotFoundError progress: the bar is drawn by tqdm, which is not installed: pip "
        "install tqdm",
    ]


def test_elements_have_the_format_of_the_dataset():
    (element,) = (
        tfy.Dataset.from_tensors(np.arange(3)).with_format("tensorferry").progress(disable=True)
    )
    assert isinstance(element, tfy.Tensor)
