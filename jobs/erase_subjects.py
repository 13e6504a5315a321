"""Erase the subjects of a request from every store, and leave a certificate.

Reads the request `erasures/<name>.csv` of the state folder: a header of columns of one source, one subject per line.
Rewrites landed files, every table of the lake that knows the subject (rows, old files, log entries), warehouse, ledger
texts, reports, work files and artifacts; lists the models that learned from the subject. Options: `request` (name),
`source`, `why`, `actor`, `settle_minutes` (120): an uncommitted file as old counts as left by an attempt that died.
Fails, nothing changed, when nobody knows the subject; when a run under way wrote the subject again, it is retried.
An attempt that was killed goes on where it ended; the request is removed at the end.
"""

import sys
from collections.abc import Sequence

from nightloop.erasure.certificate import describe_request, list_models, write_certificate
from nightloop.erasure.erase import CERTIFICATES, Erasure, Stores, open_erasure
from nightloop.erasure.request import FOLDER, Inbox, check_name
from nightloop.folders.loading import load_sources, load_use_cases
from nightloop.job.context import JobContext
from nightloop.job.frame import run_job
from nightloop.run import JobResult, RunKey, parse_instant
from nightloop.stores.keys import load_certificate_key, load_key_ring
from nightloop.stores.lake.history import abandoned_since

ACTION = "erase_subjects"


def erase_subjects(job: JobContext) -> JobResult:
    name, inbox = check_name(job.options["request"]), Inbox(job.settings.home / FOLDER)
    certificate = job.reports.path(CERTIFICATES, job.run_key, f"{name}.json")
    # a task that is cleared after its end finds the request gone and the certificate written
    if certificate.exists() and not inbox.request_path(name).exists() and not inbox.journal_path(name).exists():
        return job.result(facts={"request": name}, links={"certificate": str(certificate)})
    erasure = _open(job, name, inbox)
    # landed files first: while they hold the subject, a night that runs again would load it again
    steps = (
        ("landing", lambda: erasure.erase_landed(job.token)),
        ("lake", lambda: erasure.erase_lake(abandoned_since(float(job.options.get("settle_minutes") or 120)))),
        ("databases", erasure.erase_databases),
        ("models", lambda: erasure.journal.once("models", lambda: list_models(erasure))),
        ("files", erasure.erase_files),
        ("verify", erasure.verify),
    )
    for phase, act in steps:
        with job.phase(phase):
            act()
    return _certify(job, name, inbox, erasure)


def _open(job: JobContext, name: str, inbox: Inbox) -> Erasure:
    folders, ring = job.settings.folders, load_key_ring(job.settings.home)
    sources = {source.name: source for source in load_sources(folders)}
    use_cases = {use_case.name: use_case for use_case in load_use_cases(folders)}
    stores = Stores(job.settings, job.lake, job.ledger, job.warehouse, job.reports, job.registry)
    erasure = open_erasure(name, inbox, stores, sources, use_cases, [*ring.by_id.values()])
    if "found" not in erasure.journal.results:
        request = inbox.read(name, job.load_source(job.options["source"]))
        about = (load_certificate_key(job.settings.home), job.replay.last)
        who, why = job.options.get("actor") or "an operator", job.options.get("why") or "not said"
        with job.phase("find"):
            erasure.find(request)
        erasure.journal.once("request", lambda: describe_request(request, *about, who, why))
    return erasure


def _certify(job: JobContext, name: str, inbox: Inbox, erasure: Erasure) -> JobResult:
    about, found = erasure.journal.results["request"], erasure.found
    as_of = parse_instant(about["as_of"])
    key = RunKey(job.replay.scope, as_of, job.replay.variant)
    path = job.reports.write(CERTIFICATES, key, f"{name}.json", write_certificate(erasure))
    job.ledger.write_audit(job.replay.scope, ACTION, about["actor"], about["why"], about["source"], str(path), as_of)
    # last: an attempt that was killed goes on by the request and its journal
    inbox.close(name)
    counts = {"subjects": about["subjects"], "rows": sum(found["live"].values()), "tables": len(found["live"])}
    facts = {"request": name, "models": str(len(erasure.journal.results["models"]))}
    return job.result(counts=counts, facts=facts, links={"certificate": str(path)})


def main(argv: Sequence[str] | None = None) -> int:
    return run_job(ACTION, erase_subjects, argv)


if __name__ == "__main__":
    sys.exit(main())
