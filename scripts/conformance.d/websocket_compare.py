"""Runs the suite against the echo server directly and through Tollgate; fails where an outcome differs."""

import asyncio, collections, sys
import kosoku

async def outcomes(address, cases):
    try:
        results = await kosoku.run_fuzzingclient(address, cases, None)
    except kosoku.FailureError as failure:
        results = failure.results
    return {result.case_id: (result.behavior.value, result.behavior_close.value) for result in results}

cases = sys.argv[1:] or None
direct = asyncio.run(outcomes("ws://127.0.0.1:18214", cases))
through = asyncio.run(outcomes("ws://127.0.0.1:18210", cases))
for name, results in (("direct", direct), ("through", through)):
    print(name.ljust(8), len(results), "cases:", dict(collections.Counter(behaviour for behaviour, _ in results.values())))
differing = sorted(case for case in direct if direct[case] != through.get(case))
for case in differing:
    print(" ", case, "direct", *direct[case], "through", *through.get(case, ("missing",)))
print(len(differing), "differ")
sys.exit(bool(differing or not direct))
