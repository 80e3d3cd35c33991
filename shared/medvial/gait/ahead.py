"""Reading ahead in a thread, so that decoding and looking share two cores."""

import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Generic, TypeVar

Item = TypeVar("Item")


def read_ahead(items: Iterator[Item], depth: int = 2) -> Iterator[Item]:
    """The same items, of which up to `depth` are made in another thread before they are asked for.

    An exception of `items` comes out where the item would have. When the reader stops early, the
    thread ends with the item that it is at.
    """
    maker = _Maker(items, depth)
    maker.start()
    try:
        while True:
            item, error = maker.ready.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        maker.stop.set()
        maker.join()


class _Maker(threading.Thread, Generic[Item]):
    """Puts items where they can be fetched; None, or the exception, after the last."""

    def __init__(self, items: Iterator[Item], depth: int) -> None:
        super().__init__(name="read-ahead", daemon=True)
        self.ready: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(depth)
        self.stop = threading.Event()
        self._items = items

    def run(self) -> None:
        """Until the last item, an exception, or `stop`."""
        try:
            for item in self._items:
                self._hand_over(item, None)
                if self.stop.is_set():
                    return
            self._hand_over(None, None)
        except BaseException as error:
            self._hand_over(None, error)

    def _hand_over(self, item: Item | None, error: BaseException | None) -> None:
        while not self.stop.is_set():
            with suppress(queue.Full):
                self.ready.put((item, error), timeout=0.1)
                return
