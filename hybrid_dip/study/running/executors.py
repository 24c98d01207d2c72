"""Where runs are done: processes of this machine, or a Ray cluster. Any ``concurrent.futures.Executor`` serves."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import queue
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import torch

from hybrid_dip.errors import HybridDIPError, SettingsError

KNOCK = 10.0
"""Seconds within which a cluster's address has to answer."""


class WorkerDiedError(HybridDIPError, RuntimeError):
    """A worker process ended before its run did: killed, or out of memory."""


class Workers(Executor):
    """Processes of this machine, each by itself: one that dies takes nothing with it but the run that it was at.

    (A ``ProcessPoolExecutor`` of several processes is broken as a whole when one of them dies.)

    Args:
        count: How many.
        gpus: Names of the GPUs that they share, one after the other, as CUDA_VISIBLE_DEVICES has them; none on the CPU.
    """

    def __init__(self, count: int, gpus: Sequence[str] = ()):
        self.count = count
        self._gpus = gpus
        self._idle: queue.SimpleQueue[tuple[int, ProcessPoolExecutor]] = queue.SimpleQueue()
        for number in range(count):
            self._idle.put((number, self._start(number)))
        # Each thread of these waits for one process.
        self._waiting = ThreadPoolExecutor(count, thread_name_prefix="worker", initializer=_hold_back_interrupts)
        try:
            self.submit(os.getpid).result()
        except WorkerDiedError:
            self.shutdown()
            raise SettingsError(
                "A worker process cannot start: a script that starts some must do so under `if __name__ == '__main__':`."
            ) from None

    def _start(self, number: int) -> ProcessPoolExecutor:
        # Not forked: a copy of a process that has used CUDA or OpenMP cannot use them.
        context = multiprocessing.get_context("spawn")
        gpu = self._gpus[number % len(self._gpus)] if self._gpus else None
        return ProcessPoolExecutor(1, mp_context=context, initializer=_enter_worker, initargs=(gpu,))

    def submit(self, function: Callable[..., Any], /, *given: Any, **named: Any) -> "Future[Any]":
        """Have a function called in one of the processes.

        Args:
            function: Importable by name.
            given: Its arguments.
            named: Its arguments by name.

        Returns:
            The future; :class:`WorkerDiedError` where the process ended.
        """
        return self._waiting.submit(self._call, function, given, named)

    def _call(self, function: Callable[..., Any], given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        number, process = self._idle.get()
        try:
            return process.submit(function, *given, **named).result()
        except BrokenProcessPool:
            process.shutdown(wait=False)
            process = self._start(number)
            raise WorkerDiedError("The worker process was killed, or ran out of memory.") from None
        finally:
            self._idle.put((number, process))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes.

        Args:
            wait: For what they are at.
            cancel_futures: Forget what they have not begun.
        """
        self._waiting.shutdown(wait=wait, cancel_futures=cancel_futures)
        while True:
            try:
                _, process = self._idle.get_nowait()
            except queue.Empty:
                return
            process.shutdown(wait=wait)


def _hold_back_interrupts() -> None:
    """Ctrl-C reaches the whole terminal; a process that this thread starts must not meet it before it can ignore it."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _enter_worker(gpu: str | None) -> None:
    """The first thing that a worker process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the runner tells us to stop
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def follow() -> None:
        # Without this a worker would wait for ever for a runner that was killed.
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True, name="parent").start()


class Ray(Executor):
    """A Ray cluster, on whose machines the study's folder is found under the same path.

    Args:
        address: Of the cluster ("host:6379", "auto"); "" for ``RAY_ADDRESS`` or, without it, this machine alone.
        cpus: Of each run.
        gpus: Of each run; may be a fraction.

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

        def settle(found: "Future[Any]") -> None:
            self._references.pop(future, None)
            error = found.exception()
            if error is None:
                future.set_result(found.result())
            else:
                future.set_exception(error)

        reference.future().add_done_callback(settle)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster.

        Args:
            wait: For what is going on.
            cancel_futures: Forget what has not begun.
        """
        if cancel_futures:
            for reference in list(self._references.values()):
                self._ray.cancel(reference)
        if wait:
            for future in list(self._references):
                with contextlib.suppress(Exception):  # whoever waits for the future is told
                    future.result()
        if self._owned:
            self._ray.shutdown()


def _knock(address: str) -> None:
    """Ray tries for minutes to reach an address where nobody is."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=KNOCK).close()


def gpus(device: str) -> list[str]:
    """The GPUs that local workers share, as CUDA_VISIBLE_DEVICES names them: none where runs are on the CPU."""
    if device != "cuda":
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return named.split(",") if named else [str(number) for number in range(torch.cuda.device_count())]


def core_count() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
