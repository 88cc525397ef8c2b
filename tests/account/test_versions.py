"""What a deployment that changes only parameters does to the published versions of functions, read from
the template as SAM translates it. (Without an account.)

SAM names a version by the properties before parameters are filled in, so a changed parameter alone
publishes nothing. CloudFormation publishes one if the version's description changes.
"""

import copy
import re

import pytest
from account import ROOT, sam_translated
from samtranslator.yaml_helper import yaml_parse

# Properties of a function that no version has.
UNPUBLISHED = {"ReservedConcurrentExecutions", "Tags"}


def parameters(template, node):
    """The parameters that a part of the template depends on."""
    if isinstance(node, list):
        return set().union(*(parameters(template, entry) for entry in node))
    if not isinstance(node, dict):
        return set()
    found = set()
    for key, value in node.items():
        if key in ("Ref", "Condition") and isinstance(value, str):
            found |= named(template, key, value)
        elif key == "Fn::GetAtt":
            found |= named(template, "Ref", value[0] if isinstance(value, list) else value.partition(".")[0])
        elif key == "Fn::Sub":
            text, own = value if isinstance(value, list) else (value, {})
            names = {name.partition(".")[0] for name in re.findall(r"\$\{([^!}]+)\}", text)}
            found |= parameters(template, own)
            found = found.union(*(named(template, "Ref", name) for name in names - set(own)))
        elif key == "Fn::If":
            found |= named(template, "Condition", value[0]) | parameters(template, value[1:])
        else:
            found |= parameters(template, value)
    return found


def named(template, kind, name):
    """The parameters that a parameter, a resource or a condition with this name depends on."""
    if kind == "Condition":
        return parameters(template, template["Conditions"][name])
    if name in template["Parameters"]:
        return {name}
    # What exists only under a condition is referred to only then.
    condition = template["Resources"].get(name, {}).get("Condition")
    return named(template, "Condition", condition) if condition else set()


def versions(template):
    """Of each version: the parameters that its function's configuration depends on, and those in its
    description."""
    resources = template["Resources"]
    found = {}
    for version in resources.values():
        if version["Type"] == "AWS::Lambda::Version":
            function = version["Properties"]["FunctionName"]["Ref"]
            published = {k: v for k, v in resources[function]["Properties"].items() if k not in UNPUBLISHED}
            described = version["Properties"].get("Description", {})
            found[function] = parameters(template, published), parameters(template, described)
    return found


@pytest.fixture(scope="module")
def template():
    template = yaml_parse((ROOT / "template.yaml").read_text())
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = {"Bucket": "code", "Key": "key"}
    return sam_translated(template)


def test_each_parameter_of_a_version_publishes_one(template):
    found = versions(template)
    # The schedules and the stream call the other functions themselves.
    assert set(found) == {"RebuildFunction"}
    for function, (published, described) in found.items():
        assert published - described == set(), f"{function}: a change of these would publish nothing"
        assert described - published == set(), f"{function}: Lambda would refuse to publish the same again"


def test_old_versions_stay(template):
    [version] = [one for one in template["Resources"].values() if one["Type"] == "AWS::Lambda::Version"]
    assert version["DeletionPolicy"] == version["UpdateReplacePolicy"] == "Retain"


def test_a_description_fits(template):
    [version] = [one for one in template["Resources"].values() if one["Type"] == "AWS::Lambda::Version"]
    text = version["Properties"]["Description"]["Fn::Sub"]
    for name in re.findall(r"\$\{(.+?)\}", text):
        # A number has at most six digits.
        longest = max(template["Parameters"][name].get("AllowedValues", ["100000"]), key=len)
        text = text.replace(f"${{{name}}}", longest)
    assert len(text) <= 256


def test_every_function_waits_for_the_only_stack(template):
    """Otherwise a second stack could change some before it is refused."""
    functions = [one["Properties"] for one in template["Resources"].values() if one["Type"] == "AWS::Lambda::Function"]
    assert len(functions) == 5
    for function in functions:
        assert "${OnlyStack}" in str(function["Description"])


def changed(template, change):
    template = copy.deepcopy(template)
    function = template["Resources"]["RebuildFunction"]["Properties"]
    [version] = [one for one in template["Resources"].values() if one["Type"] == "AWS::Lambda::Version"]
    change(template, function, version["Properties"])
    [(published, described)] = versions(template).values()
    return published - described, described - published


def describe(text):
    return lambda _, __, version: version.update(Description={"Fn::Sub": text})


def vary(value):
    return lambda _, function, __: function["Environment"]["Variables"].update(NEW=value)


def behind_a_resource(template, function, _):
    template["Resources"]["Topic"] = {"Type": "AWS::SNS::Topic", "Condition": "HasResourcePolicy"}
    vary({"Fn::GetAtt": ["Topic", "TopicName"]})(template, function, _)


@pytest.mark.parametrize(
    "change, missing, needless",
    [
        (lambda *_: None, set(), set()),
        (describe("none"), {"FleetMode", "MaxRebuildsPerDay", "Architecture"}, set()),
        (describe("${FleetMode} ${MaxRebuildsPerDay} ${Architecture} ${LogRetentionDays}"), set(), {"LogRetentionDays"}),
        (vary({"Ref": "EventBusName"}), {"EventBusName"}, set()),
        (vary({"Fn::Sub": "bus/${EventBusName} ${AWS::Region} ${!no}"}), {"EventBusName"}, set()),
        (vary({"Fn::Sub": ["${a} ${b}", {"a": {"Ref": "RebuildTag"}, "b": ""}]}), {"RebuildTag"}, set()),
        # A condition of a condition, beside a value.
        (
            vary({"Fn::If": ["WithIam", {"Ref": "RebuildTag"}, ""]}),
            {"VpcEndpointId", "Authorization", "RebuildTag"}, set(),
        ),
        (behind_a_resource, {"VpcEndpointId", "CallerArns"}, set()),
    ],
)
def test_one_missing_or_too_many_is_noticed(template, change, missing, needless):
    assert changed(template, change) == (missing, needless)
