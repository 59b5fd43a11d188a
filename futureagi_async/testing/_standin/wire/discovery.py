"""The rows of the lists in which ids are found: run tests, test executions, agents, agent versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from futureagi_async.testing._standin.clock import SECOND_US, iso_utc, iso_utc_text
from futureagi_async.testing._standin.data.values import seeded_uuid
from futureagi_async.testing._standin.wire.kpis import connected, measure
from futureagi_async.testing._standin.wire.served_calls import SIMULATOR_NAME

if TYPE_CHECKING:
    from futureagi_async.testing._standin.data.records import (
        Agent,
        AgentVersion,
        Family,
        RunTest,
        TestExecution,
    )
    from futureagi_async.testing._standin.data.scenarios import EvalConfig, Scenario

Fields = dict[str, Any]

CANARY = "standin-canary"
"""Part of every value that a client must not keep: the secrets and phone numbers of agents."""

_NOT_DELETED: Fields = {"deleted": False, "deleted_at": None}
_NO_PROMPT: Fields = dict.fromkeys(
    ("prompt_template", "prompt_template_detail", "prompt_version", "prompt_version_detail")
)


def run_test_row(family: Family) -> Fields:
    """Return a run test with everything that hangs on it, secrets of its agent included."""
    run_test, last = family.run_test, family.executions[-1]
    scenarios = [scenario for scenario in run_test.scenarios if not scenario.deleted]
    configs = [_eval_config(config) for config in run_test.evals if not config.removed]
    return {
        "id": run_test.id,
        "name": run_test.name,
        "description": f"{run_test.kind} calls of {run_test.name}",
        **_agent_of(family),
        **_source_type(run_test.source_type),
        **_NO_PROMPT,
        "scenarios": [scenario.id for scenario in scenarios],
        "scenarios_detail": [_scenario(scenario, run_test) for scenario in scenarios],
        "dataset_row_ids": [],
        "simulator_agent": _simulator_id(run_test),
        "simulator_agent_detail": _simulator(run_test),
        "simulate_eval_configs": [config["id"] for config in configs],
        "simulate_eval_configs_detail": configs,
        "evals_detail": configs,
        "organization": _organization(),
        "enable_tool_evaluation": run_test.kind == "voice",
        "created_at": iso_utc(run_test.created_us),
        "updated_at": iso_utc(run_test.created_us + 8),
        "last_run_at": iso_utc(last.created_us),
        **_NOT_DELETED,
        "evals": configs,
    }


def _agent_of(family: Family) -> Fields:
    """All null for a prompt, which has no agent definition."""
    agent, version = family.run_test.agent, family.versions[-1]
    if family.run_test.source_type == "prompt":
        return dict.fromkeys(("agent_definition", "agent_version", "agent_definition_detail"))
    snapshot = {
        "inbound": False,
        "language": "en",
        "provider": agent.provider,
        "agent_name": agent.name,
        "agent_type": agent.kind,
        "description": _description(agent),
    }
    return {
        "agent_definition": agent.id,
        "agent_version": {
            "id": version.id,
            "name": _version_name(version),
            "configuration_snapshot": snapshot,
        },
        "agent_definition_detail": _agent(agent) | _secrets(),
    }


def _secrets() -> Fields:
    return {
        "authentication_method": f"{CANARY}-authentication-method",
        "api_key": f"{CANARY}-api-key",
        "observability_provider": None,
        "livekit_url": f"wss://{CANARY}.example.com",
        "livekit_api_key": f"{CANARY}-livekit-api-key",
        "livekit_agent_name": "",
        "livekit_config_json": {"api_secret": f"{CANARY}-livekit-secret"},
        "livekit_max_concurrency": 2,
    }


def agent_row(family: Family) -> Fields:
    """Return an agent definition as it is listed."""
    latest = family.versions[-1]
    return _agent(family.run_test.agent) | {"latest_version": latest.number, "latest_version_id": latest.id}


def _agent(agent: Agent) -> Fields:
    """Return what an agent's row shares with its detail; a phone number and headers are among it."""
    return {
        "id": agent.id,
        "agent_name": agent.name,
        "agent_type": agent.kind,
        "contact_number": f"+1-555-{CANARY}",
        "inbound": False,
        "target_speaks_first": None,
        "description": _description(agent),
        "assistant_id": None,
        "provider": agent.provider,
        "language": "en",
        "languages": ["en"],
        "websocket_url": None,
        "websocket_headers": {"Authorization": f"Bearer {CANARY}-websocket-header"},
        "workspace": seeded_uuid("workspace"),
        "knowledge_base": None,
        "organization": _organization(),
        "created_at": iso_utc(agent.created_us),
        "updated_at": iso_utc(agent.created_us + 8),
        "model": None,
        "model_details": {},
    }


def _description(agent: Agent) -> str:
    return f"The {agent.kind} agent “{agent.name}”"


def _organization() -> str:
    return seeded_uuid("organization")


def version_row(family: Family, version: AgentVersion) -> Fields:
    """Return a version as it is listed: the newest is active, older ones are archived."""
    newest = version is family.versions[-1]
    return {
        "id": version.id,
        "version_number": version.number,
        "version_name": _version_name(version),
        "version_name_display": _version_name(version),
        "status": "active" if newest else "archived",
        "status_display": "Active" if newest else "Archived",
        "score": None,
        "test_count": 0,
        "pass_rate": None,
        "description": f"version {version.number} of {version.agent.name}",
        "commit_message": "second thoughts" if version.number > 1 else "first draft",
        "is_active": newest,
        "is_latest": newest,
        "created_at": iso_utc(version.created_us),
    }


def _version_name(version: AgentVersion) -> str:
    return f"v{version.number}"


def served_execution_row(family: Family, execution: TestExecution) -> Fields:
    """Return a test execution as it is served: figures in words and numbers, names without ids."""
    run_test, measured = family.run_test, measure(execution)
    attempted, talked, share = connected(measured)
    return {
        "id": execution.id,
        "status": execution.status.capitalize(),
        "scenarios": scenario_names(run_test),
        "start_time": iso_utc_text(execution.created_us).replace("Z", "+00:00"),
        "duration": sum(facts.duration_seconds or 0 for facts in measured.facts),
        "error_reason": None,
        "success_rate": _success_rate(measured.with_status("completed"), len(measured.calls)),
        "avg_response_time": round(measured.mean(lambda f: f.response_ms, 0) / 1000, 3),
        "calls": len(measured.calls) if run_test.kind == "voice" else 0,
        "calls_attempted": attempted,
        "connected_calls": talked,
        "agent_version": _version_name(family.versions[-1]) if run_test.agent_name else None,
        "agent_definition": run_test.agent_name,
        "calls_connected_percentage": share,
        "total_chats": len(measured.calls) if run_test.kind == "text" else 0,
        "agent_type": run_test.kind,
        "total_number_of_fagi_agent_turns": sum(facts.chat.turn_count or 0 for facts in measured.facts),
        "source_type": run_test.source_type,
    }


def documented_execution_row(family: Family, execution: TestExecution) -> Fields:
    """Return a test execution as documented: status in upper case, counts, and ids of scenarios."""
    run_test, measured = family.run_test, measure(execution)
    scenarios = [scenario.id for scenario in run_test.scenarios if not scenario.deleted]
    seconds = sum(facts.duration_seconds or 0 for facts in measured.facts)
    completed = measured.with_status("completed")
    final = execution.status in {"completed", "failed", "cancelled"}
    ended_us = execution.created_us + seconds * SECOND_US
    return {
        "id": execution.id,
        "run_test": run_test.id,
        "status": execution.status.upper(),
        "started_at": iso_utc(execution.created_us),
        "completed_at": iso_utc(ended_us) if final else None,
        "total_scenarios": len(scenarios),
        "total_calls": len(measured.calls),
        "completed_calls": completed,
        "failed_calls": measured.with_status("failed"),
        "duration_seconds": seconds,
        "success_rate": _success_rate(completed, len(measured.calls)),
        "scenario_ids": scenarios,
        "simulator_agent_name": SIMULATOR_NAME,
        "agent_definition_used_name": run_test.agent_name,
        "created_at": iso_utc(execution.created_us),
    }


def scenario_names(run_test: RunTest) -> str:
    """Return the scenarios of a run test in words."""
    return ", ".join(scenario.name for scenario in run_test.scenarios if not scenario.deleted)


def _success_rate(completed: int, calls: int) -> float:
    return round(100 * completed / calls, 1) if calls else 0.0


def _source_type(source_type: str) -> Fields:
    return {"source_type": source_type, "source_type_display": source_type.replace("_", " ").title()}


def _scenario(scenario: Scenario, run_test: RunTest) -> Fields:
    dataset = scenario.dataset
    return {
        "id": scenario.id,
        "name": scenario.name,
        "description": None,
        "source": "s",
        "scenario_type": "dataset" if dataset else "script",
        "scenario_type_display": "Dataset" if dataset else "Script",
        **_source_type("agent_definition"),
        "organization": _organization(),
        "dataset": dataset.id if dataset else None,
        "dataset_rows": len(dataset.rows) if dataset else 0,
        "dataset_column_config": [],
        "graph": scenario.graph,
        "agent": {
            "id": _simulator_id(run_test),
            "name": SIMULATOR_NAME,
            "prompt": "Call and complain.",
            "voice_provider": "elevenlabs",
            "voice_name": "v",
            "model": "gpt",
            "initial_message": "",
        },
        **_NO_PROMPT,
        "created_at": iso_utc(run_test.created_us),
        "updated_at": iso_utc(run_test.created_us + 8),
        **_NOT_DELETED,
        "status": "Completed",
        "agent_type": "outbound",
    }


def _simulator_id(run_test: RunTest) -> str:
    return seeded_uuid(run_test.id, "simulator")


def _simulator(run_test: RunTest) -> Fields:
    return {
        "id": _simulator_id(run_test),
        "name": SIMULATOR_NAME,
        "prompt": "Call and complain.",
        "voice_provider": "elevenlabs",
        "voice_name": "v",
        "interrupt_sensitivity": 0.5,
        "conversation_speed": 1.0,
        "finished_speaking_sensitivity": 0.5,
        "model": "gpt",
        "llm_temperature": 0.7,
        "max_call_duration_in_minutes": 30,
        "initial_message_delay": 0,
        "initial_message": "",
        "created_at": iso_utc(run_test.created_us),
        "updated_at": iso_utc(run_test.created_us + 8),
        "organization": _organization(),
        **_NOT_DELETED,
        "logo_url": None,
    }


def _eval_config(config: EvalConfig) -> Fields:
    return {
        "id": config.id,
        "name": config.name,
        "config": {},
        "mapping": {},
        "filters": {},
        "error_localizer": False,
        "model": None,
        "status": "Completed",
        "eval_group": None,
        "template_id": seeded_uuid(config.id, "template"),
    }
