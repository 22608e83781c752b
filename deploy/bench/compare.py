#!/usr/bin/env python3
"""Runs the same SIP load against p2psip-gateway and Kamailio, in turn, and prints what an operation costs each.

    compare.py --bench DIR --gateway bin/p2psip-gateway [--rows refresh,call] [--load loaded] [--repeat 3] [--secs 4]

DIR holds the load bench: bench.py, and servers/kamailio/start.sh. Everything runs on loopback and in a temporary directory.
Three systems take turns: one gateway, which is a ring of its own; a ring of three gateways, all load at the first; Kamailio. CPU is
that of all processes of a system, microseconds for one operation, the median of the repetitions; so in the ring of three what the
other two store and answer counts. A system starts with nothing in each repetition. The rates are the two of the load bench's suite.sh,
paced and loaded; with --load max each system gets more and more until it loses or repeats something, and the highest clean rate counts.
"""
import argparse, json, os, shutil, signal, statistics, subprocess, sys, tempfile, time, urllib.request

SIP, LINK, ADMIN = 25060, 26084, 28060  # ports of the first gateway; the next ones follow

# row: (scenario, operations in a second paced and loaded, world, arguments of bench.py). Rows that need a system of their own name another
# world than "auth". Over TCP the generator is SIPp, whose digest is not up to it: phones are trusted in the world "plain".
ROWS = {
    "register": ("register_auth", (500, 1000), "auth", ["--register-auth"]),  # every user for the first time, digest
    "refresh": ("refresh_auth", (500, 2500), "auth", ["--register-auth"]),
    "call": ("call", (300, 1000), "auth", ["--register-auth"]),
    "message": ("message", (1000, 3000), "auth", ["--register-auth"]),
    "refresh-plain": ("refresh", (1000, 5000), "plain", []),
    "call-tcp": ("call", (300, 600), "plain", ["--transport", "tcp", "--gen", "sipp", "--populate-tcp"]),
    "redirect": ("redirect", (1000, 4000), "redirect", ["--no-populate"]),
}
KAMAILIO = {"auth": "auth", "plain": "proxy", "redirect": "redirect-tm"}
SYSTEMS = ["one", "three", "kamailio"]


def wait_for(what, ready, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if ready():
            return
        time.sleep(0.1)
    raise SystemExit(f"{what}: not ready after {seconds} s")


class Kamailio:
    def __init__(self, a, mode):
        self.run = tempfile.mkdtemp(prefix="kamailio.", dir=a.work)
        self.server = f"127.0.0.1:{SIP}"
        env = dict(os.environ, RUN=self.run)
        start = os.path.join(a.bench, "servers/kamailio/start.sh")
        out = subprocess.run([start, mode, self.server], env=env, check=True, stdout=subprocess.PIPE, text=True)
        self.pids = [int(out.stdout)]
        self.populate = [] if mode != "auth" else ["--register-auth"]
        self.redirector = self.server
        self.redirector_pids = self.pids

    def stop(self):
        for pid in self.pids:
            os.kill(pid, signal.SIGTERM)
            wait_for("end of Kamailio", lambda: not os.path.exists(f"/proc/{pid}"))


class Gateways:
    """A ring of gateways, with a redirect peer when there is to be one."""

    def __init__(self, a, size, world):
        redirect = world == "redirect"
        self.trusted = "  trusted: [127.0.0.0/8]\n" if world == "plain" else ""
        self.dir = tempfile.mkdtemp(prefix="ring.", dir=a.work)
        self.procs = []
        for i in range(size + redirect):
            self.start(a, i, "redirect" if i == size else "proxy")
        self.pids = [p.pid for p in self.procs]
        self.server = f"127.0.0.1:{SIP}"
        self.redirector = f"127.0.0.1:{SIP + size}"
        self.redirector_pids = self.pids
        self.populate = ["--register-auth"]

    def start(self, a, i, role):
        conf = os.path.join(self.dir, f"gw{i}.yaml")
        registrar = f"registrar:\n  users: {a.work}/users.txt\n{self.trusted}" if role == "proxy" else ""
        with open(conf, "w") as f:
            f.write(f"domain: bench.test\nrole: {role}\ndata: {self.dir}/data{i}\n{registrar}"
                    f"sip:\n  listen: ['udp://127.0.0.1:{SIP + i}', 'tcp://127.0.0.1:{SIP + i}']\n"
                    f"overlay:\n  identity: {a.work}/gw{i}\n  listen: tls://127.0.0.1:{LINK + i}\n  first: {str(i == 0).lower()}\n"
                    f"security:\n  trusted: [127.0.0.0/8]\nadmin:\n  listen: 127.0.0.1:{ADMIN + i}\n")
        log = open(os.path.join(self.dir, f"gw{i}.log"), "w")
        self.procs.append(subprocess.Popen([a.gateway, "run", "-c", conf], cwd=self.dir, stdout=log, stderr=log))
        wait_for(conf, lambda: self.ready(i))

    def ready(self, i):
        if self.procs[i].poll() is not None:
            raise SystemExit(open(os.path.join(self.dir, f"gw{i}.log")).read())
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{ADMIN + i}/readyz", timeout=5).status == 200
        except OSError:
            return False

    def stop(self):
        for p in reversed(self.procs):
            p.terminate()
        for p in self.procs:
            p.wait(60)
        shutil.rmtree(self.dir)


def prepare(a):
    """Makes the overlay and the identities, once for all repetitions."""
    with open(f"{a.work}/users.txt", "w") as f:
        f.writelines(f"u{i:07d} secret\n" for i in range(a.aors))
    run = lambda *args: subprocess.run([a.gateway, *args], check=True, stdout=subprocess.DEVNULL)
    run("init", "--domain", "bench.test", "--dir", f"{a.work}/overlay", "--bootstrap", f"127.0.0.1:{LINK}")
    for i in range(4):
        run("identity", "issue", "--dir", f"{a.work}/overlay", "--name", f"gw{i}", "--users", f"{a.work}/users.txt",
            "--out", f"{a.work}/gw{i}")


def load(a, server, pids, scenario, rate, args):
    cmd = ["python3", os.path.join(a.bench, "bench.py"), "run", scenario, "--server", server,
           "--pid", ",".join(map(str, pids)), "--rate", str(rate), "--secs", str(a.secs), "--aors", str(a.aors),
           "--repeat", "1", "--pause", "0.5", *args]
    if a.load == "max":
        cmd[2:3] = ["max"]
        cmd += ["--start", str(rate), "--bisect", "3"]
    p = subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        return json.loads(p.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        print(f"{scenario} at {server}: {p.stderr.strip()}", file=sys.stderr)
        return None


def offered(a, row):
    return ROWS[row][1][a.load != "paced"]


def measure(a, system, world, rows, results):
    """One repetition of rows at one system."""
    if system == "kamailio":
        s = Kamailio(a, KAMAILIO[world])
    else:
        s = Gateways(a, {"one": 1, "three": 3}[system], world)
    try:
        if world == "redirect":  # the phones register at a gateway; somebody else may redirect
            populate(a, s)
        for row in rows:
            scenario, _, _, args = ROWS[row]
            if row == "register":
                args = args + ["--calls", str(a.aors)]
            target, pids = (s.redirector, s.redirector_pids) if row == "redirect" else (s.server, s.pids)
            r = load(a, target, pids, scenario, offered(a, row), args)
            if r and r.get("cpu_us_op"):
                results.setdefault((row, system), []).append(r)
                print(f"  {row} {system}: {r['offered']}/s, {r['cpu_us_op']} us, p99 {r['p99_ms']} ms, failed {r['failed']}, "
                      f"rss {r['rss_mb']} MB, foreign {r['foreign_util']}", file=sys.stderr)
    finally:
        s.stop()


def populate(a, s):
    how, a.load = a.load, "paced"
    load(a, s.server, s.pids, "refresh_auth" if s.populate else "refresh", 500, s.populate)
    a.load = how


def table(a, results):
    def cell(row, system):
        runs = results.get((row, system))
        if not runs:
            return "-", None
        m = lambda k: statistics.median([r[k] or 0 for r in runs])
        failed = sum(r["failed"] for r in runs)
        rate = f" at {m('offered'):.0f}/s" if a.load == "max" else ""
        note = f", {failed} failed" if failed else ""
        return f"{m('cpu_us_op'):.0f}{rate}; {m('p99_ms'):.1f}; {m('rss_mb'):.0f}{note}", m("cpu_us_op")
    print("CPU of an operation in us; p99 in ms; resident memory in MB")
    print("| operation, offered rate | one gateway | ring of three | Kamailio | CPU, one : Kamailio | three : Kamailio |")
    print("|---|---|---|---|---|---|")
    for row in a.rows:
        (o, ov), (t, tv), (k, kv) = (cell(row, s) for s in SYSTEMS)
        ratio = lambda v: f"{v / kv:.2f}" if v and kv else "-"
        rate = "highest" if a.load == "max" else f"{offered(a, row)}/s"
        print(f"| {row}, {rate} | {o} | {t} | {k} | {ratio(ov)} | {ratio(tv)} |")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bench", required=True, help="directory of the load bench")
    p.add_argument("--gateway", default="bin/p2psip-gateway")
    p.add_argument("--rows", default=",".join(ROWS), type=lambda s: s.split(","))
    p.add_argument("--systems", default=",".join(SYSTEMS), type=lambda s: s.split(","))
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--secs", type=float, default=4)
    p.add_argument("--aors", type=int, default=2000)
    p.add_argument("--load", choices=["paced", "loaded", "max"], default="loaded")
    a = p.parse_args()
    a.bench, a.gateway = os.path.abspath(a.bench), os.path.abspath(a.gateway)
    a.work = tempfile.mkdtemp(prefix="compare.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    results = {}
    try:
        prepare(a)
        for _ in range(a.repeat):
            for world in KAMAILIO:
                rows = [r for r in a.rows if ROWS[r][2] == world]
                for system in a.systems if rows else []:
                    measure(a, system, world, rows, results)
    finally:
        shutil.rmtree(a.work)
    table(a, results)


main()
