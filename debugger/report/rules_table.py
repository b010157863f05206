"""Every rule, its status and what decided it."""

from debugger.report.material import Material
from debugger.report.words import STATUS, SURE, listed, sentence, title
from debugger.verdict import Status, Verdict
from pages.document import Section
from pages.markup import Html, fill, join, paragraph

ORDER = [Status.ISSUES_FOUND, Status.ERROR, Status.NOT_APPLICABLE, Status.NO_ISSUES_FOUND]
NAMED = 8
"""Tensors and steps in a row; the JSON has those that the verdict names."""


def rules(material: Material) -> Section:
    every = [verdict for status in ORDER for verdict in material.of(status)]
    if not every:
        return Section("Rules", paragraph("No rule was run.", "soft"))
    lead = (
        "A rule that could not look is not a healthy one: its reason says what to save or measure. "
        "Steps are those of the rule: global steps of saved tensors, or points of measurement."
    )
    heads = ("rule", "status", "sure", "fired", "why")
    table = fill(
        '<div class="wide" tabindex="0" role="region" aria-label="Rules"><table class="sortable '
        'rules"><thead><tr>$heads</tr></thead><tbody>$rows</tbody></table></div>',
        heads=join(fill('<th scope="col">$head</th>', head=head) for head in heads),
        rows=join(map(_row, every)),
    )
    return Section("Rules", join([paragraph(lead, "soft"), table]))


def _row(verdict: Verdict) -> Html:
    words, css = STATUS[verdict.status]
    issue = verdict.status == Status.ISSUES_FOUND
    return fill(
        '<tr><th scope="row">$rule</th><td class="status $css">$status</td><td>$sure</td>'
        '<td class="n">$fired</td><td class="why">$reason$change$more</td></tr>',
        rule=title(verdict.rule), css=css, status=words,
        sure=SURE[verdict.sureness] if issue else "",
        fired=f"{verdict.times:,} of {verdict.looked_at:,}" if verdict.looked_at else "–",
        reason=sentence(verdict.reason),
        change=_change(verdict.advice),
        more=_more(verdict),
    )  # fmt: skip


def _change(advice: str) -> Html:
    return fill("<br><b>$advice</b>", advice=sentence(advice)) if advice else Html("")


def _more(verdict: Verdict) -> Html:
    facts = []
    if verdict.tensors:
        facts.append(("Tensors", listed(verdict.tensors, NAMED)))
    if verdict.steps:
        facts.append(("Steps", listed([f"{step:,}" for step in verdict.steps], NAMED)))
    if verdict.parameters:
        said = ", ".join(f"{name}={value}" for name, value in verdict.parameters.items())
        facts.append(("Parameters", said))
    if not facts:
        return Html("")
    what = listed([name.lower() for name, _ in facts], len(facts))
    return fill(
        "<details><summary>$what</summary>$facts</details>",
        what=what,
        facts=join(fill("<p>$name: $value</p>", name=name, value=value) for name, value in facts),
    )
