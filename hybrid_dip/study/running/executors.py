"""Where runs are done: processes of this machine, or a Ray cluster. Any ``concurrent.futures.Executor`` serves."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import queue
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from hybrid_dip.errors import HybridDIPError, HybridDIPWarning, SettingsError

KNOCK = 10.0
"""Seconds within which a cluster's address has to answer."""


class WorkerDiedError(HybridDIPError, RuntimeError):
    """A worker process ended before its run did: killed, or out of memory."""


class Workers(ThreadPoolExecutor):
    """Processes of this machine. One that dies takes nothing with it but its own run, and is replaced.

    Each thread of this pool waits for one pool of a single process, because a ``ProcessPoolExecutor`` is broken as a whole when
    one of its processes dies.

    Args:
        count: Number of processes.
        gpus: Names in CUDA_VISIBLE_DEVICES of the GPUs that they share in turn; none on the CPU.

    Raises:
        SettingsError: A process cannot start.
    """

    def __init__(self, count: int, gpus: Sequence[str] = ()):
        super().__init__(count, "worker", initializer=_block_interrupts)
        self._idle: queue.SimpleQueue[tuple[str | None, ProcessPoolExecutor]] = queue.SimpleQueue()
        for number in range(count):
            gpu = gpus[number % len(gpus)] if gpus else None
            self._idle.put((gpu, _one_process(gpu)))
        try:
            self.submit(os.getpid).result()
        except WorkerDiedError:
            self.shutdown()
            raise SettingsError(
                "A worker process cannot start: a script that starts some must do so under `if __name__ == '__main__':`."
            ) from None

    def submit(self, function: Callable[..., Any], /, *given: Any, **named: Any) -> "Future[Any]":
        """Have a function called in one of the processes.

        Args:
            function: Importable by name.
            given: Its arguments.
            named: Its arguments by name.

        Returns:
            The future; it raises :class:`WorkerDiedError` where the process ended.
        """
        return super().submit(self._call, function, given, named)

    def _call(self, function: Callable[..., Any], given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        gpu, process = self._idle.get()
        try:
            return process.submit(function, *given, **named).result()
        except BrokenProcessPool:
            process.shutdown(wait=False)
            process = _one_process(gpu)
            raise WorkerDiedError("The worker process was killed, or ran out of memory.") from None
        finally:
            self._idle.put((gpu, process))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes.

        Args:
            wait: Whether to wait for what they are doing.
            cancel_futures: Whether to forget what has not begun.
        """
        super().shutdown(wait=wait, cancel_futures=cancel_futures)
        while not self._idle.empty():
            self._idle.get()[1].shutdown(wait=wait)

    def __exit__(self, *error: object) -> None:
        self.shutdown(cancel_futures=True)


def _one_process(gpu: str | None) -> ProcessPoolExecutor:
    # Not forked: a copy of a process that has used CUDA or OpenMP cannot use them.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=context, initializer=_enter_worker, initargs=(gpu,))


def _block_interrupts() -> None:
    """Ctrl-C reaches the whole terminal; a process that this thread starts must not meet it before it can ignore it."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _enter_worker(gpu: str | None) -> None:
    """The first thing that a worker process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the runner tells us to stop
    warnings.simplefilter("ignore", HybridDIPWarning)  # who planned the runs has been warned
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    threading.Thread(target=_follow_parent, daemon=True, name="parent").start()


def _follow_parent() -> None:
    """End with the parent: a worker would wait for ever for a runner that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


class Ray(Executor):
    """A Ray cluster; the study's folder has the same path on all of its machines.

    Args:
        address: The cluster's address ("host:6379", "auto"); "" for ``RAY_ADDRESS`` or, without it, this machine alone.
        cpus: CPUs that each run takes.
        gpus: GPUs that each run takes; may be a fraction.

    Raises:
        SettingsError: Ray is not installed, or there is no cluster.
    """

    def __init__(self, address: str = "", *, cpus: float = 1, gpus: float = 0):
        try:
            import ray
        except ImportError:
            raise SettingsError("Ray is not installed; install it by: pip install 'hybrid-dip[ray]'.") from None
        self._ray = ray
        self._owned = not ray.is_initialized()
        if self._owned:
            try:
                _knock(address)
                ray.init(address=address or None, log_to_driver=False, configure_logging=False)
            except (OSError, ValueError, RuntimeError) as error:
                reason = " ".join(str(error).split())[:200].rstrip(".")
                raise SettingsError(
                    f"There is no Ray cluster at '{address or 'auto'}' that lets us in ({reason}); one that asks for a token "
                    f"wants RAY_AUTH_MODE=token and the same ~/.ray/auth_token on every machine."
                ) from None
        have = ray.cluster_resources()
        for what, wanted in {"CPU": cpus, "GPU": gpus}.items():
            if wanted > have.get(what, 0):
                raise SettingsError(f"A run asks for {wanted:g} {what}, and the whole cluster has {have.get(what, 0):g}.")
        # A node that is lost takes its runs with it; Ray starts them again elsewhere.
        self._options = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": 3, "retry_exceptions": False}
        self._remote: dict[Callable[..., Any], Any] = {}
        self._references: dict[Future[Any], Any] = {}

    def submit(self, function: Callable[..., Any], /, *given: Any, **named: Any) -> "Future[Any]":
        """Have a function called somewhere in the cluster.

        Args:
            function: Importable by name on every node.
            given: Its arguments.
            named: Its arguments by name.

        Returns:
            The future.
        """
        if function not in self._remote:
            self._remote[function] = self._ray.remote(function).options(**self._options)
        reference = self._remote[function].remote(*given, **named)
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # the cluster does not tell when it begins
        self._references[future] = reference

        def settle(done: "Future[Any]") -> None:
            self._references.pop(future, None)
            error = done.exception()
            if error is None:
                future.set_result(done.result())
            else:
                future.set_exception(error)

        reference.future().add_done_callback(settle)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster.

        Args:
            wait: Whether to wait for what is going on.
            cancel_futures: Whether to forget what has not begun.
        """
        if cancel_futures:
            for reference in list(self._references.values()):
                self._ray.cancel(reference)
        if wait:
            for future in list(self._references):
                with contextlib.suppress(Exception):  # the caller sees it in the future
                    future.result()
        if self._owned:
            self._ray.shutdown()

    def __exit__(self, *error: object) -> None:
        self.shutdown(cancel_futures=True)


def _knock(address: str) -> None:
    """Try an address for seconds: Ray alone would try one where nothing answers for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=KNOCK).close()
