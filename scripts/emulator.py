#!/usr/bin/env python3
"""ministack, with what its Step Functions lacks for campaigns, as the documentation of AWS describes it:
fields of a distributed map that are expressions, stopping it at too many failures, redriving an execution,
and aws-sdk:s3:putObject. Every state is run by ministack's own interpreter.
"""

import copy
import json
import threading
from contextvars import copy_context
from uuid import uuid4

from ministack import app
from ministack.services import s3
from ministack.services import stepfunctions as states

HANDLERS = {
    "Pass": states._execute_pass, "Choice": states._execute_choice, "Wait": states._execute_wait,
    "Task": states._execute_task, "Map": states._execute_map,
}


class Stopped(Exception):
    """The execution was stopped between two states."""


class MapRun:
    """A distributed map and its children. Each child, and the parent, knows in "_at" the state that it is
    in, with its input and context, so that a redrive can go on there."""

    def __init__(self, state, given, processor, parent, context):
        def field(name, kind):
            return states._jsonata_state_field(state, name, kind, given, context)

        self.states, self.parent = processor["States"], parent
        _, _, _, region, account, _, machine = parent["stateMachineArn"].split(":")
        prefix, label = f"arn:aws:states:{region}:{account}", state["Label"]
        self.lock, self.redrives = threading.Lock(), 0
        self.shown = {
            "mapRunArn": f"{prefix}:mapRun:{machine}/{label}:{uuid4()}", "executionArn": parent["executionArn"],
            "status": "RUNNING", "startDate": states.now_iso(), "redriveCount": 0, "toleratedFailureCount": 0,
            "maxConcurrency": field("MaxConcurrency", "number"),
            "toleratedFailurePercentage": field("ToleratedFailurePercentage", "number"),
            "_stateMachineArn": f"{prefix}:stateMachine:{machine}/{label}",
        }
        self.children = []
        for index, value in enumerate(field("Items", "array")):
            with_item = {**context, "Map": {"Item": {"Index": index, "Value": value}}}
            input = states._apply_jsonata_template(state["ItemSelector"], given, with_item)
            name = str(uuid4())
            child = {
                "executionArn": f"{prefix}:execution:{machine}/{label}:{name}", "name": name, "events": [],
                "stateMachineArn": self.shown["_stateMachineArn"], "status": "PENDING", "stopDate": None,
                "input": json.dumps(input), "output": None, "mapRunArn": self.shown["mapRunArn"],
            }
            # No variables: those of the parent are out of scope in a distributed map.
            execution = {"Id": child["executionArn"], "Name": name, "Input": input, "RedriveCount": 0}
            own = {"QueryLanguage": "JSONata", "variables": {}, "Execution": execution}
            child["_at"] = processor["StartAt"], input, {**own, "StateMachine": context["StateMachine"]}
            self.children.append(child)
        self.count()
        states._map_runs[self.shown["mapRunArn"]] = self.shown

    def run(self):
        """Runs the children that have not succeeded, unless the parent is stopped; raises if too many fail."""
        waiting = [child for child in self.children if child["status"] != "SUCCEEDED"]
        for child in waiting:
            if child["status"] != "PENDING":
                child["_at"][2]["Execution"]["RedriveCount"] += 1
            child["status"] = "PENDING"
        self.shown["status"] = "RUNNING"

        def work():
            while self.goes_on():
                with self.lock:
                    child = waiting.pop(0) if waiting else None
                if child is None:
                    break
                self.run_child(child)

        size = int(self.shown["maxConcurrency"])
        workers = [threading.Thread(target=copy_context().run, args=(work,)) for _ in range(size)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if self.parent["status"] != "RUNNING":
            self.shown["status"] = "ABORTED"
        elif self.shown["status"] == "FAILED":
            message = "The specified tolerated failure threshold was exceeded"
            raise states._ExecutionError("States.ExceedToleratedFailureThreshold", message)
        else:
            self.shown["status"] = "SUCCEEDED"

    def goes_on(self):
        return self.parent["status"] == "RUNNING" and self.shown["status"] == "RUNNING"

    def run_child(self, child):
        child.update(status="RUNNING", startDate=states.now_iso())
        states._executions[child["executionArn"]] = child
        self.count()
        try:
            output = run_states(self.states, child, self.goes_on)
            child.update(status="SUCCEEDED", output=json.dumps(output))
        except Stopped:
            child["status"] = "ABORTED"
        except states._ExecutionError as error:
            child.update(status="FAILED", error=error.error, cause=error.cause)
        child["stopDate"] = states.now_iso()
        self.count()

    def count(self):
        with self.lock:
            counts = {name: 0 for name in ("timedOut", "resultsWritten", "failuresNotRedrivable", "pendingRedrive")}
            for name in ("pending", "running", "succeeded", "failed", "aborted"):
                counts[name] = sum(child["status"] == name.upper() for child in self.children)
            counts["total"] = len(self.children)
            self.shown |= {"itemCounts": counts, "executionCounts": counts}
            if counts["failed"] * 100 > self.shown["toleratedFailurePercentage"] * counts["total"]:
                self.shown["status"] = "FAILED"


def run_states(machine, execution, goes_on):
    """Runs an execution from the state that it is in to its end; returns its output."""
    name, given, context = execution["_at"]
    while name:
        if not goes_on():
            raise Stopped
        state = machine[name]
        context["State"] = {"Name": name, "EnteredTime": states.now_iso(), "RetryCount": 0}
        execution["_at"] = name, copy.deepcopy(given), context
        if state["Type"] == "Fail":
            raise states._ExecutionError(*states._fail_state_error(state, given, context))
        arguments = (execution, context) if state["Type"] in ("Task", "Map") else (context,)
        given, name = HANDLERS[state["Type"]](state, given, *arguments)
    return given


def task(state, given, execution, context):
    # Children keep their place by themselves.
    if "mapRunArn" not in execution:
        execution["_at"] = context["State"]["Name"], given, context
    return HANDLERS["Task"](state, given, execution, context)


def distributed_map(state, given, _effective, processor, execution, context):
    execution["_at"] = context["State"]["Name"], given, context
    run = execution.setdefault("_map_run", None) or MapRun(state, given, processor, execution, context)
    execution["_map_run"] = run
    run.run()
    # Nobody reads what ResultWriter writes, so nothing is written.
    states._apply_state_assign(state, given, context, result={})
    return states._apply_jsonata_output(state, given, context, default={}), state.get("Next")


def redrive_execution(data):
    execution = states._executions.get(data["executionArn"])
    if not execution or execution["status"] not in ("FAILED", "ABORTED"):
        return states.error_response_json("ExecutionNotRedrivable", "The execution cannot be redriven", 400)
    execution.update(status="RUNNING", stopDate=None, error=None, cause=None, output=None)
    machine = json.loads(states._state_machines[execution["stateMachineArn"]]["definition"])["States"]

    def go_on():
        try:
            output = run_states(machine, execution, lambda: execution["status"] == "RUNNING")
            execution.update(status="SUCCEEDED", output=json.dumps(output), stopDate=states.now_iso())
            states._emit_execution_status_event(execution)
        except Stopped:
            pass
        except states._ExecutionError as error:
            states._fail_execution(execution, error.error, error.cause)

    threading.Thread(target=copy_context().run, args=(go_on,), daemon=True).start()
    return states.json_response({"redriveDate": states.now_iso()})


def put_object(_resource, arguments):
    body = json.dumps(arguments["Body"]).encode()
    status, *_ = s3._put_object(arguments["Bucket"], arguments["Key"], body, {})
    if status != 200:
        raise states._ExecutionError("S3.S3Exception", "the object could not be written")
    return {}


async def handle_request(method, path, headers, body, query):
    if headers.get("x-amz-target", "").endswith(".RedriveExecution"):
        return states._finalize_response(redrive_execution(json.loads(body)))
    return await handled(method, path, headers, body, query)


handled, states.handle_request = states.handle_request, handle_request
states._execute_task, states._run_distributed_map = task, distributed_map
states._SERVICE_DISPATCH["arn:aws:states:::aws-sdk:s3:putObject"] = put_object

# AWS gives an expression a second. Its interpreter is faster than this one, and this machine may be busy.
compile_expression = states.jsonata.Jsonata.jsonata
states.jsonata.Jsonata.jsonata = lambda expression, timeout=1000: compile_expression(expression, timeout=20 * timeout)

if __name__ == "__main__":
    app.main()
