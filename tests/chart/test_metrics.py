#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the chart gives Prometheus: a monitor that finds the agents, and alerts on what they really say."""
import re
import sys
import unittest

import yaml
from chart_case import CHART, NAME, NAMESPACE, ChartTest, read

ON = {"metrics.podMonitor.enabled": True, "metrics.alerts.enabled": True}


class Metrics(ChartTest):
    def test_nothing_that_needs_an_operator_unless_asked_for(self):
        for group in {o["apiVersion"].split("/")[0] for o in self.render().objects}:
            self.assertNotIn("coreos", group)

    def test_the_monitor_finds_the_agents(self):
        made = self.render_all({**ON, "metrics.podMonitor.interval": "1m",
                                "metrics.podMonitor.labels": {"release": "prometheus"}})
        monitor = made.one("PodMonitor", NAME)
        self.assertEqual(monitor["metadata"]["namespace"], NAMESPACE)
        self.assertEqual(monitor["metadata"]["labels"]["release"], "prometheus")
        wanted = monitor["spec"]["selector"]["matchLabels"]
        self.assertEqual(wanted, made.one("StatefulSet")["spec"]["selector"]["matchLabels"])
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        self.assertEqual((endpoint["path"], endpoint["interval"]), ("/metrics", "1m"))
        self.assertIn(endpoint["port"], [port["name"] for port in made.container("agent")["ports"]])

    def test_the_alerts_are_those_of_the_file(self):
        made = self.render_all({**ON, "metrics.alerts.labels": {"role": "alerts"}})
        rule = made.one("PrometheusRule", NAME)
        self.assertEqual(rule["metadata"]["labels"]["role"], "alerts")
        self.assertEqual(rule["spec"], yaml.safe_load(read(CHART, "alerts.yaml")))

    def test_alerts_ask_for_what_agents_say(self):
        """Names, and the labels that they are chosen by, as a leader's own /metrics has them."""
        said = read("tests/unit/golden/metrics_leader.txt")
        promises = set(re.findall(r'muster_promise_held\{promise="([^"]+)"', said))
        for rule in yaml.safe_load(read(CHART, "alerts.yaml"))["groups"][0]["rules"]:
            names = set(re.findall(r"\b(?:muster|redis)_\w+", rule["expr"]))
            self.assertTrue(names, rule["alert"])
            for name in names:
                self.assertRegex(said, rf"(?m)^{name}[ {{]", rule["alert"])
            for choice in re.findall(r'promise!?[=~]+"([^"]+)"', rule["expr"]):
                self.assertLessEqual(set(choice.split("|")), promises, rule["alert"])
            self.assertIn(rule["labels"]["severity"], ("critical", "warning"))
            self.assertEqual(set(rule["annotations"]), {"summary", "description"})

    def test_an_interval_is_one(self):
        self.refused({"metrics.podMonitor.interval": "often"}, "/metrics/podMonitor/interval")


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=1))
