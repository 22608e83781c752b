package sim

import (
	"fmt"
	"strings"
	"time"
)

// Scenarios are those that docs/ring.md quotes figures of, each under its name.
func Scenarios() []Scenario {
	list := []Scenario{
		hops("hops-1000", 1000), hops("hops-10000", 10_000), hops("hops-100000", 100_000),
		{Name: "half", Seed: 1, Peers: 1000, Users: 1000, Lookups: 1000, Run: 10 * time.Second,
			Faults: []Fault{{What: FaultKill, Amount: 0.5, Share: true}}},
	}
	for _, rate := range []float64{0.05, 0.1, 0.2, 0.4} {
		list = append(list, Scenario{Name: fmt.Sprintf("churn-%.2f", rate), Seed: 1, Peers: 1000, Users: 1000, Lookups: 10, Update: 30 * time.Second,
			Run: 1000 * time.Second, Faults: []Fault{{What: FaultChurn, Amount: rate, For: 1000 * time.Second}}})
	}
	return append(list,
		Scenario{Name: "pairs", Seed: 1, Peers: 200, Users: 1000, Lookups: 5, Run: time.Hour,
			Faults: []Fault{{At: 30 * time.Second, Every: 30 * time.Second, Until: time.Hour - time.Minute, What: FaultKill, Amount: 2,
				Back: 15 * time.Second}}},
		Scenario{Name: "partition", Seed: 1, Peers: 200, Users: 400, Lookups: 20, Refresh: 5 * time.Minute, Run: 12 * time.Minute, Audit: -1,
			Faults: []Fault{{At: time.Minute, What: FaultPartition, Amount: 0.5, Share: true, For: 10 * time.Minute}}},
		Scenario{Name: "idle", Seed: 1, Peers: 10_000, Run: time.Minute},
		Scenario{Name: "restart", Seed: 1, Peers: 1000, Users: 1000, Durable: true, Run: 2 * time.Minute, Audit: 3,
			Faults: []Fault{{At: 10 * time.Second, What: FaultRestart, Amount: 1, Share: true, Over: 10 * time.Second}}})
}

func hops(name string, peers int) Scenario {
	return Scenario{Name: name, Seed: 1, Peers: peers, Users: 1000, Lookups: 2000, Run: 5 * time.Second, Warm: time.Second}
}

// NamedScenario finds one of Scenarios. The error lists their names.
func NamedScenario(name string) (Scenario, error) {
	var names []string
	for _, s := range Scenarios() {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Scenario{}, fmt.Errorf("there is no scenario %q; there are %s", name, strings.Join(names, ", "))
}
