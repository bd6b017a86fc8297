"""Mistakes about policies and people."""

from afk_es.core import RunnerConfig
from afk_es.testing.exploring.world_options import WorldOptions
from afk_es.testing.invariants import ApprovalsAreBound, AtMostOnce, NoEffectWithoutAllow
from tests.bugs.agents import REWRITING, close_account, look_up, note, refund, shop
from tests.bugs.planting import Bug, Slip

BUGS = (
    Bug(
        name="approval by tool name",
        mistake="a grant is taken as one for every call of that tool that waits",
        slips=(
            Slip(
                "afk_es.machine.answer_facts:approval_resolved",
                """        case "granted":
""",
                """        case "granted":
            for other in state.batch.turns:
                if other.status == "asking" and other.call.tool_name == turn.call.tool_name:
                    state = with_turn(state, event, replace(other, status="allowed", wait=None))
""",
            ),
        ),
        agent=shop(),
        found_by=(NoEffectWithoutAllow, ApprovalsAreBound),
    ),
    Bug(
        name="approval of other arguments",
        mistake="a person is shown the arguments that a rule has made, and those that the model asked for run",
        slips=(Slip("afk_es.machine.batches:_execution", "turn.effective", "turn.call"),),
        agent=shop(policy=REWRITING),
        found_by=(NoEffectWithoutAllow, ApprovalsAreBound),
        world=WorldOptions(people="yes"),
    ),
    Bug(
        name="asked again after resume",
        mistake="whoever takes a run over puts its open questions anew",
        slips=(
            Slip(
                "afk_es.machine.answer_facts:taken_over",
                """        return replace(turn, status="asking")
    return turn""",
                """        return replace(turn, status="asking")
    if turn.status == "asking":
        return replace(turn, status="approval")
    return turn""",
            ),
        ),
        agent=shop(),
        found_by=(ApprovalsAreBound,),
    ),
    Bug(
        name="denial swallowed",
        mistake="an action that the table of gates does not have is allowed",
        slips=(Slip("afk_es.machine.tool_facts:policy_decision", '_GATED.get(action, "denied")', '_GATED.get(action, "allowed")'),),
        agent=shop(tools=(close_account, look_up)),
        found_by=(NoEffectWithoutAllow,),
    ),
    Bug(
        name="no taken for put off",
        mistake="only an explicit deferral is told from a grant: every other answer lets the call go ahead",
        slips=(
            Slip(
                "afk_es.machine.answer_facts:approval_resolved",
                "turn, status=\"denied\", reason=f\"{data['reason'] or 'denied'} (by {data['by']})\"",
                'turn, status="allowed"',
            ),
        ),
        agent=shop(),
        found_by=(NoEffectWithoutAllow, ApprovalsAreBound),
    ),
    Bug(
        name="nobody given the time",
        mistake="a term in seconds is taken for one in milliseconds",
        slips=(Slip("afk_es.machine.inquiries:term", "min(timeout_s, _LONGEST_S)", "min(timeout_s, _LONGEST_S) / 1000"),),
        agent=shop(tools=(note, refund)),
        found_by=(ApprovalsAreBound,),
    ),
    Bug(
        name="doubt settled without asking",
        mistake="with in_doubt='ask', a call that was granted before the crash counts as granted",
        slips=(
            Slip(
                "afk_es.machine.doubt_facts:effect_in_doubt",
                'status="approval", asks="approval"',
                'status="approval" if turn.request is None else "allowed", asks="approval"',
            ),
        ),
        agent=shop(),
        config=RunnerConfig(interaction_mode="interactive", in_doubt="ask"),
        found_by=(AtMostOnce,),
    ),
)
