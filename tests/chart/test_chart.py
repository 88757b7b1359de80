#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The promises of charts/redis-cluster, each asked of what Helm renders. HELM names the program."""
import json
import re
import shutil
import tempfile
import unittest

import yaml

import values_table
from chart_case import CHART, NAME, NAMESPACE, RELEASE, ChartTest, Rendered, read

TLS = {"redis.tls.enabled": True, "redis.tls.existingSecret": "certs"}
USER = {"redis.username": "muster", "auth.existingSecret": "secrets",
        "auth.acl.existingSecret": "users"}
# every kind of pod that the chart can make
SHAPES = ({}, {"auth.enabled": False}, TLS, USER, {"persistence.enabled": False},
          {"agent.sidecar": "plain"}, {"server.layout": "bitnami-redis"})


class Security(ChartTest):
    def test_every_container_is_restricted(self):
        """Pod Security "restricted", and a root file system that cannot be written."""
        for shape in SHAPES:
            made = self.render_all(shape)
            pod = made.pod["securityContext"]
            self.assertTrue(pod["runAsNonRoot"])
            self.assertEqual(pod["seccompProfile"], {"type": "RuntimeDefault"})
            for container in made.containers():
                own = container["securityContext"]
                self.assertGreaterEqual(own["runAsUser"], 10000)
                self.assertIs(own["allowPrivilegeEscalation"], False)
                self.assertIs(own["readOnlyRootFilesystem"], True)
                self.assertEqual(own["capabilities"], {"drop": ["ALL"]})
            for key in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
                self.assertFalse(made.pod.get(key))
            kinds = {kind for volume in made.pod["volumes"] for kind in volume if kind != "name"}
            self.assertLessEqual(kinds, {"emptyDir", "configMap", "secret", "projected"})

    def test_server_and_agent_are_two_users_of_one_group(self):
        made = self.render()
        users = {made.container(c)["securityContext"]["runAsUser"] for c in ("redis", "agent")}
        self.assertEqual(len(users), 2)
        context = made.pod["securityContext"]
        # containerd refuses a pod that names a group without a user
        self.assertNotIn("runAsGroup", context)
        groups = {made.container(c)["securityContext"]["runAsGroup"] for c in ("redis", "agent", "hook")}
        self.assertEqual(groups, {context["fsGroup"]})
        self.refused({"serverUser": 10003}, "must differ")

    def test_the_token_is_the_agents_only(self):
        for shape in SHAPES:
            made = self.render_all(shape)
            self.assertIs(made.pod["automountServiceAccountToken"], False)
            self.assertIs(made.one("ServiceAccount")["automountServiceAccountToken"], False)
            holders = [c["name"] for c in made.containers()
                       if "api" in [m["name"] for m in c["volumeMounts"]]]
            self.assertEqual(holders, ["agent"])
            token = made.volume("api")["projected"]["sources"][0]["serviceAccountToken"]
            self.assertLessEqual(token["expirationSeconds"], 3600)

    def test_the_server_cannot_replace_what_the_agent_trusts(self):
        mounts = {m["mountPath"]: m for m in self.render().container("redis")["volumeMounts"]}
        for path in ("/hook", "/run/muster", "/etc/muster/conf", "/etc/muster/password"):
            self.assertIs(mounts[path]["readOnly"], True, path)

    def test_the_password_is_in_files_only(self):
        made = self.render()
        password = made.one("Secret")["data"]["password"]
        self.assertGreaterEqual(len(password), 40)
        self.assertEqual(made.text.count(password), 1)
        for container in made.containers():
            self.assertNotIn("secretKeyRef", str(container.get("env")))
            self.assertNotIn("envFrom", container)
        self.assertIn("include /run/muster-server/password.conf", made.server_lines())
        self.assertEqual(made.agent_config()["redis"]["passwordFile"],
                         "/etc/muster/password/password")
        self.assertEqual(made.mounts("agent")["/etc/muster/password"], "password")
        self.assertEqual(made.volume("server-run")["emptyDir"]["medium"], "Memory")

    def test_a_password_of_ones_own(self):
        made = self.render(auth__existingSecret="mine", auth__passwordKey="redis-password")
        self.assertEqual(made.all("Secret"), [])
        self.assertEqual(made.volume("password")["secret"]["secretName"], "mine")
        self.assertEqual(made.agent_config()["redis"]["passwordFile"],
                         "/etc/muster/password/redis-password")
        self.assertIn("/etc/muster/password/redis-password", str(made.container("redis")["command"]))

    def test_without_a_password(self):
        made = self.render(auth__enabled=False)
        self.assertEqual(made.all("Secret"), [])
        self.assertNotIn("password", made.text)
        self.assertEqual(made.container("redis")["command"][0], "/hook/muster-hook")

    def test_an_acl_user(self):
        made = self.render_all(USER)
        self.assertIn("masteruser muster", made.server_lines())
        self.assertIn("aclfile /etc/muster/acl/users.acl", made.server_lines())
        self.assertEqual(made.mounts("redis")["/etc/muster/acl"], "acl")
        self.assertEqual(made.agent_config()["redis"]["username"], "muster")
        self.assertNotIn("requirepass", made.text)

    def test_tls_leaves_no_plain_port(self):
        made = self.render_all(TLS)
        lines = made.server_lines()
        for line in ("port 0", "tls-port 6379", "tls-cluster yes", "tls-replication yes",
                     "tls-auth-clients optional", "tls-ca-cert-file /etc/muster/tls/ca.crt"):
            self.assertIn(line, lines)
        self.assertNotIn("port 6379", lines)
        self.assertEqual(made.agent_config()["redis"]["tls"], {
            "enabled": True, "caFile": "/etc/muster/tls/ca.crt",
            "certFile": "/etc/muster/tls/tls.crt", "keyFile": "/etc/muster/tls/tls.key",
            "serverName": f"{NAME}.{NAMESPACE}.svc"})
        self.assertEqual(made.volume("tls")["secret"]["secretName"], "certs")

    def test_role_is_the_least(self):
        """What the agent's requests need (agent/io/kube_*.c), word for word."""
        made = self.render()
        rules = [(r["apiGroups"][0], r["resources"][0], tuple(r["verbs"]),
                  tuple(r.get("resourceNames", ()))) for r in made.one("Role")["rules"]]
        record = (NAME + "-muster",)
        self.assertEqual(rules, [
            ("", "pods", ("get", "list", "watch"), ()),
            ("discovery.k8s.io", "endpointslices", ("list", "watch"), ()),
            ("apps", "statefulsets", ("list", "watch"), (NAME,)),
            ("coordination.k8s.io", "leases", ("get", "update"), record),
            ("coordination.k8s.io", "leases", ("create",), ()),
            ("", "configmaps", ("list", "watch", "update"), record),
            ("", "configmaps", ("create",), ()),
            ("", "events", ("create",), ()),
        ])
        for rule in made.one("Role")["rules"]:
            self.assertEqual((len(rule["apiGroups"]), len(rule["resources"])), (1, 1))
        self.assertEqual(made.all("ClusterRole") + made.all("ClusterRoleBinding"), [])

    def test_nodes_are_read_only_when_asked(self):
        made = self.render(rbac__nodes=True)
        role = made.one("ClusterRole")
        self.assertEqual(role["rules"],
                         [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}])
        self.assertNotIn("namespace", role["metadata"])
        self.assertIn(NAMESPACE, role["metadata"]["name"])

    def test_network(self):
        made = self.render(networkPolicy__clients=[{"podSelector": {"matchLabels": {"app": "web"}}}])
        clients, own = made.one("NetworkPolicy")["spec"]["ingress"]
        us = {"podSelector": {"matchLabels": made.one("NetworkPolicy")["spec"]["podSelector"]
                              ["matchLabels"]}}
        self.assertEqual([p["port"] for p in clients["ports"]], [6379])
        self.assertEqual(clients["from"], [{"podSelector": {"matchLabels": {"app": "web"}}}, us])
        self.assertEqual([p["port"] for p in own["ports"]], [16379, 8008])
        self.assertEqual(own["from"], [us])
        peers, api = made.one("NetworkPolicy")["spec"]["egress"]
        self.assertEqual(peers["to"], [us])
        self.assertEqual([p["port"] for p in api["ports"]], [443, 6443])
        self.assertNotIn("from", self.render().one("NetworkPolicy")["spec"]["ingress"][0])


class Pod(ChartTest):
    def test_sidecar_by_version(self):
        for kube, native in (("1.28.9", False), ("1.29.0", True), ("v1.34.1-gke.100", True)):
            made = self.render(kube=kube)
            init = [c["name"] for c in made.pod["initContainers"]]
            self.assertEqual(init, ["hook", "agent"] if native else ["hook"], kube)
            self.assertEqual([c["name"] for c in made.pod["containers"]],
                             ["redis"] if native else ["redis", "agent"], kube)
            self.assertEqual(made.container("agent").get("restartPolicy"),
                             "Always" if native else None)

    def test_the_server_passes_the_gate(self):
        """Whatever the image: through the hook, and its own words behind it."""
        entry = ["docker-entrypoint.sh"]
        conf = ["/etc/muster/conf/redis.conf"]
        for layout, words, data in (
                ("redis", entry + ["redis-server"], "/data"),
                ("valkey", entry + ["valkey-server"], "/data"),
                ("bitnami-redis", ["/opt/bitnami/redis/bin/redis-server"], "/bitnami/redis/data"),
                ("bitnami-valkey", ["/opt/bitnami/valkey/bin/valkey-server"],
                 "/bitnami/valkey/data")):
            for auth in (True, False):
                made = self.render(server__layout=layout, auth__enabled=auth)
                command = made.container("redis")["command"]
                start = command.index("/hook/muster-hook")
                self.assertEqual(command[start:start + 5],
                                 ["/hook/muster-hook", "start", "--silent-seconds", "30", "--"])
                self.assertEqual(made.start_words(), words + conf)
                self.assertEqual(made.mounts("redis")[data], "data")
                self.assertIn("dir " + data, made.server_lines())

    def test_custom_layout(self):
        made = self.render(server__layout="custom", server__command=["run", "redis-server"],
                           server__dataDir="/var/lib/redis", server__extraArgs=["--loglevel", "debug"])
        self.assertEqual(made.start_words(), ["run", "redis-server", "/etc/muster/conf/redis.conf",
                                              "--loglevel", "debug"])
        mounts = {m["mountPath"]: m for m in made.container("redis")["volumeMounts"]}
        self.assertNotIn("readOnly", mounts["/run/muster"])
        self.refused({"server.layout": "custom"}, "server.command", "server.dataDir")
        self.refused({"server.command": ["x"]}, "server.layout: custom")

    def test_hook_and_probes(self):
        made = self.render()
        self.assertEqual(made.container("hook")["command"],
                         ["/usr/bin/muster-hook", "install", "/hook"])
        server, agent = made.container("redis"), made.container("agent")
        hook = "/hook/muster-hook"
        self.assertEqual(server["readinessProbe"]["exec"]["command"], [hook, "ready"])
        self.assertEqual(server["livenessProbe"]["exec"]["command"], [hook, "alive"])
        self.assertEqual(server["lifecycle"]["preStop"]["exec"]["command"][:2], [hook, "drain"])
        self.assertNotIn("startupProbe", server)
        # FAULTS C2, C6: a liveness that is quick to kill makes failures
        probe = server["livenessProbe"]
        self.assertGreaterEqual(probe["periodSeconds"] * probe["failureThreshold"], 60)
        own = ["/usr/bin/muster-hook", "agent"]
        self.assertEqual(agent["startupProbe"]["exec"]["command"], own)
        self.assertEqual(agent["livenessProbe"]["exec"]["command"], own)
        self.assertNotIn("readinessProbe", agent)
        self.assertEqual(made.pod["terminationGracePeriodSeconds"], 3600)

    def test_identity(self):
        env = {e["name"]: e["valueFrom"]["fieldRef"]["fieldPath"]
               for e in self.render().container("agent")["env"]}
        self.assertEqual(env, {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace",
                               "POD_UID": "metadata.uid", "POD_IP": "status.podIP"})

    def test_spread(self):
        made = self.render()
        keys = [(t["topologyKey"], t["whenUnsatisfiable"])
                for t in made.pod["topologySpreadConstraints"]]
        self.assertEqual(keys, [("topology.kubernetes.io/zone", "ScheduleAnyway"),
                                ("kubernetes.io/hostname", "ScheduleAnyway")])
        self.assertIn("preferredDuringSchedulingIgnoredDuringExecution",
                      made.pod["affinity"]["podAntiAffinity"])
        own = {"nodeAffinity": {}}
        self.assertEqual(self.render(affinity=own).pod["affinity"], own)

    def test_restart_when_the_configuration_changes_and_only_then(self):
        def checksum(made):
            return made.template["metadata"]["annotations"]["checksum/config"]
        # a generated password is another one each time
        first, again = Rendered({}), Rendered({})
        self.assertNotEqual(first.one("Secret")["data"], again.one("Secret")["data"])
        self.assertEqual(first.template, again.template)
        self.assertNotEqual(checksum(first), checksum(self.render(log__level="debug")))
        self.assertNotEqual(checksum(first), checksum(self.render(server__config="maxmemory 1gb")))
        self.assertEqual(checksum(first), checksum(self.render(replicas=9)))

    def test_mesh_leaves_the_ports_alone(self):
        annotations = self.render().template["metadata"]["annotations"]
        for name in ("traffic.sidecar.istio.io/excludeInboundPorts",
                     "config.linkerd.io/skip-outbound-ports"):
            self.assertEqual(annotations[name], "6379,16379,8008")
        self.assertNotIn("istio", self.render(mesh__exclude=False).text)


class Objects(ChartTest):
    def test_statefulset(self):
        spec = self.render().one("StatefulSet")["spec"]
        self.assertEqual(spec["podManagementPolicy"], "Parallel")
        self.assertEqual(spec["serviceName"], NAME + "-headless")
        self.assertEqual(spec["replicas"], 6)
        self.assertEqual(set(spec["persistentVolumeClaimRetentionPolicy"].values()), {"Retain"})

    def test_services_find_the_pods(self):
        made = self.render()
        labels = made.template["metadata"]["labels"]
        ports = {p["name"]: p["containerPort"] for c in made.containers() for p in c.get("ports", [])}
        headless, clients = made.one("Service", NAME + "-headless"), made.one("Service", NAME)
        self.assertEqual(headless["spec"]["clusterIP"], "None")
        self.assertIs(headless["spec"]["publishNotReadyAddresses"], True)
        self.assertNotIn("publishNotReadyAddresses", clients["spec"])
        selectors = [s["spec"]["selector"] for s in (headless, clients)]
        selectors += [made.one(k)["spec"][f]["matchLabels"] for k, f in (
            ("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector"),
            ("StatefulSet", "selector"))]
        for selector in selectors:
            self.assertLessEqual(selector.items(), labels.items())
        for service in (headless, clients):
            for port in service["spec"]["ports"]:
                self.assertEqual(port["port"], ports[port["targetPort"]])
        self.assertEqual({p["name"] for p in headless["spec"]["ports"]}, {"redis", "bus", "http"})

    def test_evictions_of_pods_that_are_not_ready_count_where_kubernetes_can_say_so(self):
        for kube, policy in (("1.25.0", None), ("1.26.9", None), ("1.27.0", "IfHealthyBudget"),
                             ("1.34.0", "IfHealthyBudget")):
            budget = self.render(kube=kube).one("PodDisruptionBudget")["spec"]
            self.assertEqual(budget.get("unhealthyPodEvictionPolicy"), policy, kube)

    def test_selector_never_changes_with_a_release(self):
        """A StatefulSet's selector and claims are immutable: no version may be in them."""
        spec = self.render(commonLabels={"team": "a"}).one("StatefulSet")["spec"]
        us = {"app.kubernetes.io/name": "redis-cluster", "app.kubernetes.io/instance": RELEASE}
        self.assertEqual(spec["selector"]["matchLabels"], us)
        self.assertEqual(spec["volumeClaimTemplates"][0]["metadata"]["labels"], us)

    def test_every_mount_has_its_volume(self):
        for shape in SHAPES:
            made = self.render_all(shape)
            volumes = {v["name"] for v in made.pod["volumes"]}
            claims = made.one("StatefulSet")["spec"].get("volumeClaimTemplates", [])
            volumes |= {c["metadata"]["name"] for c in claims}
            used = {m["name"] for c in made.containers() for m in c["volumeMounts"]}
            self.assertEqual(used, volumes, shape)

    def test_every_reference_is_made(self):
        """No dangling name: roles, accounts, the config and secrets that the chart makes itself."""
        for shape in ({}, {"rbac.nodes": True}):
            made = self.render_all(shape)
            account = made.one("ServiceAccount")["metadata"]["name"]
            self.assertEqual(made.pod["serviceAccountName"], account)
            for kind in ("Role", "ClusterRole"):
                for binding in made.all(kind + "Binding"):
                    made.one(kind, binding["roleRef"]["name"])
                    self.assertEqual(binding["subjects"], [
                        {"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}])
            for volume in made.pod["volumes"]:
                if "configMap" in volume:
                    made.one("ConfigMap", volume["configMap"]["name"])
                if "secret" in volume:
                    made.one("Secret", volume["secret"]["secretName"])

    def test_everything_is_in_the_releases_namespace(self):
        for item in self.render(rbac__nodes=True).objects:
            if not item["kind"].startswith("ClusterRole"):
                self.assertEqual(item["metadata"]["namespace"], NAMESPACE, item["kind"])

    def test_persistence(self):
        for enabled, mode, lines in (
                (True, "aof", ["appendonly yes", 'save ""']),
                (True, "rdb", ["appendonly no"]),
                (True, "none", ["appendonly no", 'save ""']),
                (False, "aof", ["appendonly no", 'save ""'])):
            made = self.render(persistence__enabled=enabled, persistence__mode=mode)
            got = [line for line in made.server_lines() if line.startswith(("appendonly", "save"))]
            self.assertEqual(got, lines, (enabled, mode))
            self.assertEqual("volumeClaimTemplates" in made.one("StatefulSet")["spec"], enabled)
            if not enabled:
                self.assertEqual(made.volume("data")["emptyDir"], {})

    def test_a_copy_is_not_delayed_once_every_replica_asks(self):
        for replicas in (0, 1, 2):
            made = self.render(cluster__replicasPerPrimary=replicas)
            self.assertIn(f"repl-diskless-sync-max-replicas {replicas}", made.server_lines())

    def test_claims(self):
        made = self.render(persistence__storageClass="-", persistence__claimName="redis-data",
                           persistence__size="20Gi")
        claim = made.one("StatefulSet")["spec"]["volumeClaimTemplates"][0]
        self.assertEqual(claim["spec"]["storageClassName"], "")
        self.assertEqual(claim["metadata"]["name"], "redis-data")
        self.assertEqual(claim["spec"]["resources"]["requests"]["storage"], "20Gi")
        self.assertEqual(made.mounts("redis")["/data"], "redis-data")
        default = self.render().one("StatefulSet")["spec"]["volumeClaimTemplates"][0]
        self.assertNotIn("storageClassName", default["spec"])

    def test_ones_own_lines_win_over_defaults_only(self):
        made = self.render(server__config="appendonly no\ncluster-enabled no\nport 1\n")
        lines = made.server_lines()
        for name, value in (("appendonly", "no"), ("cluster-enabled", "yes"), ("port", "6379")):
            last = [line for line in lines if line.split()[0] == name][-1]
            self.assertEqual(last, f"{name} {value}")

    def test_images(self):
        digest = "sha256:" + 64 * "a"
        made = self.render(agent__image__repository="reg/muster", agent__image__digest=digest,
                           server__image__tag="7.2")
        self.assertEqual({made.container(c)["image"] for c in ("hook", "agent")},
                         {"reg/muster@" + digest})
        self.assertEqual(made.container("redis")["image"], "redis:7.2")
        version = yaml.safe_load(read(CHART, "Chart.yaml"))["appVersion"]
        self.assertEqual(self.render().container("agent")["image"], "muster:" + version)

    def test_names(self):
        for release, name in (("redis-cluster", "redis-cluster"), ("a", "a-redis-cluster"),
                              (53 * "r", 40 * "r")):
            made = Rendered({}, release=release)
            self.assertEqual(made.one("StatefulSet")["metadata"]["name"], name)
            self.assertEqual(made.one("StatefulSet")["spec"]["serviceName"], name + "-headless")
        made = self.render(fullnameOverride="cache")
        self.assertEqual(made.one("StatefulSet")["metadata"]["name"], "cache")


class Values(ChartTest):
    def test_nonsense_is_refused(self):
        for settings, *words in (
                ({"replica": 3}, "replica"),
                ({"replicas": 0}, "/replicas", "minimum"),
                ({"replicas": "six"}, "/replicas", "want integer"),
                ({"cluster.replicasPerPrimary": 11}, "/cluster/replicasPerPrimary"),
                ({"policy.crashHandover": "maybe"}, "/policy/crashHandover", "'auto', 'always'"),
                ({"server.layout": "docker"}, "/server/layout", "'bitnami-redis'"),
                ({"server.image.digest": "sha256:1"}, "/server/image/digest"),
                ({"persistence.size": "8 GB"}, "/persistence/size"),
                ({"terminationGracePeriodSeconds": 5}, "/terminationGracePeriodSeconds"),
                ({"serverUser": 0}, "/serverUser"),
                ({"redis.tls.enabled": "yes"}, "/redis/tls/enabled"),
                ({"fullnameOverride": "Shop"}, "/fullnameOverride"),
                # what only the values together tell
                ({"replicas": 2, "cluster.replicasPerPrimary": 2}, "use 3 or more"),
                ({"redis.port": 60000}, "cluster bus"),
                ({"http.port": 16379}, "http.port"),
                ({"redis.tls.enabled": True}, "redis.tls.existingSecret: name the secret"),
                ({"redis.username": "bob"}, "auth.existingSecret"),
                ({"redis.username": "bob", "auth.enabled": False}, "auth.enabled"),
                ({"auth.acl.existingSecret": "users"}, "redis.username"),
                ({"rbac.create": False, "rbac.nodes": True}, "rbac.nodes"),
                ({"serviceAccount.create": False}, "serviceAccount.name")):
            self.refused(settings, *words)
        self.refused({"agent.sidecar": "native"}, "needs Kubernetes 1.29", kube="1.28.0")

    def test_agents_keys_are_the_agents(self):
        """Each key that the chart writes is in the agent's table, with the same default."""
        table = read("agent/wire/config_table.c")
        made = self.render_all({**TLS})

        def leaves(tree, path=""):
            for key, value in tree.items():
                if isinstance(value, dict):
                    yield from leaves(value, f"{path}{key}.")
                else:
                    yield path + key, value
        for key, value in leaves(made.agent_config()):
            self.assertIn(f'"{key}"', table)
            same = re.search(rf'\w+\("{re.escape(key)}",[^;]*?"([^"]*)"\)', table)
            if key.split(".")[0] in ("cluster", "http", "hook", "log", "policy") \
                    and not key.startswith("policy.handover"):
                self.assertEqual(str(value), same.group(1), key)

    def test_extra_configuration_is_merged(self):
        made = self.render(agent__extraConfig={"kubernetes": {"apiServer": "https://10.0.0.1"}})
        self.assertEqual(made.agent_config()["kubernetes"], {
            "apiServer": "https://10.0.0.1", "leaseSeconds": 15, "statefulSet": NAME})

    def test_values_schema_and_readme_agree(self):
        values = yaml.safe_load(read(CHART, "values.yaml"))
        schema = json.loads(read(CHART, "values.schema.json"))
        for path, _ in values_table.leaves(values):
            node = schema
            for key in path.split("."):
                self.assertIn(key, node["properties"], path)
                node = node["properties"][key]

        def unknown(node, tree, path):
            for key, child in node.get("properties", {}).items():
                if key not in tree:
                    yield path + key
                elif tree[key] and isinstance(tree[key], dict):
                    yield from unknown(child, tree[key], f"{path}{key}.")
        # "global" is a parent chart's; the others are Kubernetes' own, within values that are read whole
        self.assertEqual(set(unknown(schema, values, "")), {
            "global", "updateStrategy.rollingUpdate", "agent.resources.claims", "server.resources.claims"})
        self.assertIn(f"{values_table.BEGIN}\n{values_table.table()}\n{values_table.END}",
                      read(CHART, "README.md"), "run tests/chart/values_table.py --fix")

    def notes(self, **settings):
        """NOTES.txt is not in what `helm template` prints: as a file of the chart, within an object, it is."""
        with tempfile.TemporaryDirectory() as copy:
            shutil.copytree(CHART, copy, dirs_exist_ok=True)
            shutil.move(copy + "/templates/NOTES.txt", copy + "/NOTES.txt")
            with open(copy + "/templates/notes.yaml", "w", encoding="utf-8") as f:
                f.write('kind: Notes\nmetadata: {name: notes}\n'
                        'text: {{ tpl (.Files.Get "NOTES.txt") . | toJson }}\n')
            return Rendered(settings, chart=copy).one("Notes")["text"]

    def test_notes_tell_the_next_three_commands(self):
        notes = self.notes()
        commands = re.findall(rf"^  kubectl -n {NAMESPACE} (\w+ \S+ .*)$", notes, re.M)
        self.assertEqual(len(commands), 3)
        self.assertEqual(commands[0], f"exec {NAME}-0 -c agent -- muster status --watch")
        self.assertEqual(commands[2], f"logs -f {NAME}-0 -c agent")
        self.assertIn("REDISCLI_AUTH=$(cat /etc/muster/password/password) redis-cli -c", notes)
        self.assertNotIn("fewer than three shards", notes)
        self.assertNotIn("Prometheus", notes)

    def test_notes_warn(self):
        notes = self.notes(**{"replicas": 4, "auth.enabled": False, "server.layout": "valkey",
                              "podManagementPolicy": "OrderedReady",
                              "persistence.retention.whenScaled": "Delete",
                              "metrics.podMonitor.enabled": True, **TLS})
        for words in ("lets no Prometheus reach the agents", "4 pods form 2 shards",
                      "fewer than three shards", "replicas=6 or more",
                      "valkey-cli -c -p 6379 --tls --cacert /etc/muster/tls/ca.crt", "OrderedReady",
                      "loses its data for good"):
            self.assertIn(words, notes)
        self.assertNotIn("AUTH", notes)


if __name__ == "__main__":
    unittest.main(verbosity=1)
