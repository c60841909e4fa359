"""What runs of all scenarios came to, beside what is known of them. `tests/endure suite` calls it.

    endure.py FOLDER ROUND          what differs in this round; exit status 1 if anything does
    endure.py FOLDER summary COUNT  a table of the rounds 1 to COUNT; exit status 1 if anything differs in them

It reads `FOLDER/ROUND/remedied/report.json`, with all scenarios, and `FOLDER/ROUND/as-it-was/SCENARIO/report.json`. The
remedied system passes every requirement; the system as it was fails exactly those that the scenario's head names.
"""

import json
import sys
from pathlib import Path

SCENARIOS = Path(__file__).parent.parent / "scenarios"


def known_failures(scenario):
    """What the head of a scenario says that the system as it was fails."""
    lines = iter(scenario.read_text().splitlines())
    for line in lines:
        if "exactly these fail" in line:
            break
    named = []
    for line in lines:
        if not line.startswith("#     "):
            break
        named += line.split()[1:]
    if not named:
        sys.exit(f"{scenario}: its head names nothing that fails")
    return set(named)


def reports(path):
    """The scenarios of a report by the names of their files; nothing where there is no report."""
    try:
        report = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {Path(one["file"]).stem: one for one in report["scenarios"]}


def differences(report, failures):
    """What differs from what is known: (requirement, required, seen, why), an empty list if nothing does."""
    if report is None:
        return [("the run", "a report", "none", "see its log")]
    found = []
    seen = {one["id"] for one in report["verdicts"]}
    for verdict in report["verdicts"]:
        required = "fail" if verdict["id"] in failures else "pass"
        if verdict["status"] != required:
            why = verdict.get("reason") or verdict.get("measured") or ""
            found.append((verdict["id"], required, verdict["status"], str(why)))
    found += [(one, "fail", "no verdict", "") for one in sorted(failures - seen)]
    required = "fail" if failures else "pass"
    if report["status"] != required:
        why = "; ".join(report.get("doubts") or [])
        if report.get("trouble"):
            why = report["trouble"]["message"]
        found.append(("the scenario", required, report["status"], why))
    return found


def rounds(folder, number):
    """Each run of a round: scenario, system, what differs."""
    remedied = reports(folder / number / "remedied" / "report.json")
    for scenario in sorted(SCENARIOS.glob("*.toml")):
        name = scenario.stem
        yield name, "remedied", differences(remedied.get(name), set())
        was = reports(folder / number / "as-it-was" / name / "report.json")
        yield name, "as it was", differences(was.get(name), known_failures(scenario))


def is_wrong(found):
    """Whether a verdict says pass for fail or fail for pass, and not only that it cannot tell."""
    return any(seen in ("pass", "fail") for _, _, seen, _ in found)


def one_round(folder, number):
    differing = 0
    for scenario, system, found in rounds(folder, number):
        differing += bool(found)
        for what, required, seen, why in found:
            print(f"round {number}: {scenario}, {system}: {what} is {seen}, not {required}: {why}"[:600])
    print(f"round {number}: {differing} runs differ from what is known")
    return differing


def summary(folder, count):
    table = {}
    for number in range(1, count + 1):
        for scenario, system, found in rounds(folder, str(number)):
            row = table.setdefault((scenario, system), [0, 0, 0, set()])
            row[0 if not found else 1 if is_wrong(found) else 2] += 1
            row[3] |= {what for what, _, _, _ in found}
    print(f"{'scenario':<24} {'system':<10} {'as known':>8} {'wrong':>6} {'unclear':>8}  differing")
    for (scenario, system), (known, wrong, unclear, what) in table.items():
        print(f"{scenario:<24} {system:<10} {known:>8} {wrong:>6} {unclear:>8}  {' '.join(sorted(what))}".rstrip())
    runs = sum(sum(row[:3]) for row in table.values())
    wrong = sum(row[1] for row in table.values())
    unclear = sum(row[2] for row in table.values())
    print(f"{count} times in a row: {runs} runs of scenarios, {wrong} with a wrong verdict, {unclear} that could not tell")
    return wrong + unclear


def main(folder, what, count="0"):
    folder = Path(folder)
    differing = summary(folder, int(count)) if what == "summary" else one_round(folder, what)
    sys.exit(1 if differing else 0)


main(*sys.argv[1:])
