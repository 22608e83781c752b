package sim

import (
	"fmt"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
)

// Report is what a random world was.
type Report struct {
	Seed     uint64
	Peers    int // at the start
	Rounds   int // of kills, leaves, starts and joins
	Records  int
	Elapsed  time.Duration // virtual
	Messages int
	Hash     uint64
	Counts   map[string]int
}

// Times of a random world.
const (
	startOver = 5 * time.Second  // hosts start within
	joinLimit = time.Minute      // and have joined after
	atRest    = 3 * time.Second  // between the last Store and a kill: a peer answers before it replicates (RFC 6940 §10.4)
	detect    = 16 * time.Second // until a silent death is noticed: a quarter more than the ping interval, and two pings
	ping      = 8 * time.Second
	repair    = 16 * time.Second // a request that was under way at a death may take its whole lifetime
)

// random is a world that a seed decides everything about.
type random struct {
	*World
	records []*Record
	silent  bool // somebody died unseen in this round
}

// RunRandom makes a world of 2 to maxPeers hosts with message delays, kills, leaves, joins, stores and fetches, all
// drawn from c.Seed, and checks every invariant after each round. The error says what did not hold.
func RunRandom(c Config, maxPeers int) (Report, error) {
	seed := c.Seed
	r := &random{World: New(c)}
	if r.c.Ping == 0 {
		r.c.Ping = ping
	}
	if r.c.HoldDown == 0 {
		r.c.HoldDown = 2 * time.Second // to get on
		if r.rand.IntN(8) == 0 {
			r.c.HoldDown = node.DefaultHoldDown
		}
	}
	u := r.rand.Float64()
	peers := 2 + int(u*u*u*float64(maxPeers-1)) // small rings break in more ways, and large ones cost more
	peers = min(peers, maxPeers)
	r.c.MaxDelay = r.delay(r.c.MinDelay, 80*time.Millisecond)
	for range peers - 1 {
		r.AddHost()
	}
	report := Report{Seed: seed, Peers: peers, Rounds: 1 + r.rand.IntN(3)}
	err := r.play(&report)
	report.Records, report.Elapsed, report.Messages = len(r.records), r.Elapsed(), r.Messages
	report.Hash, report.Counts = r.Hash(), r.Counts
	if err != nil {
		err = fmt.Errorf("seed %d, %d peers: %w", seed, peers, err)
	}
	return report, err
}

func (r *random) play(report *Report) error {
	r.Start(startOver)
	r.Run(startOver)
	if err := r.Settle(joinLimit); err != nil {
		return err
	}
	for i := range 5 + r.rand.IntN(20) {
		r.records = append(r.records, r.NewRecord(fmt.Sprintf("user%d", i), r.hosts[r.rand.IntN(len(r.hosts))]))
	}
	r.storeAll()
	r.Run(atRest + 4*time.Second)
	if err := r.Check(r.records); err != nil {
		return err
	}
	for range report.Rounds {
		r.storeAll()
		r.Run(atRest)
		r.disturb()
		r.traffic()
		r.Run(r.calm())
		if err := r.Settle(joinLimit); err != nil {
			return err
		}
		r.Run(repair)
		if err := r.Check(r.records); err != nil {
			return err
		}
	}
	return nil
}

// calm is how long a round takes to be over.
func (r *random) calm() time.Duration {
	if r.silent {
		return detect + r.c.HoldDown + repair
	}
	return r.c.HoldDown + repair/2
}

// storeAll stores a new version of some records, at some time within a second.
func (r *random) storeAll() {
	for _, record := range r.records {
		if r.rand.IntN(4) != 0 {
			r.After(r.delay(0, time.Second), func() { r.Store(record) })
		}
	}
	r.Run(time.Second)
}

// traffic stores and fetches while the ring is in motion.
func (r *random) traffic() {
	for range 10 {
		record := r.records[r.rand.IntN(len(r.records))]
		r.After(r.delay(0, 5*time.Second), func() { r.Store(record) })
		r.After(r.delay(0, 5*time.Second), func() {
			if living := r.Living(); len(living) > 0 {
				r.Fetch(record, living[r.rand.IntN(len(living))])
			}
		})
	}
}

// disturb has up to two hosts go, which is what two replicas survive, and others start again or join.
func (r *random) disturb() {
	r.silent = false
	kills := min(r.rand.IntN(3), len(r.Living())-1)
	for range kills {
		how := Crash
		if r.rand.IntN(3) == 0 {
			how, r.silent = Silent, true
		}
		r.Kill(r.someone(true).Index, how)
	}
	if kills < 2 && r.rand.IntN(4) == 0 && len(r.Living()) > 2 {
		r.Leave(r.someone(true).Index)
	}
	for range r.rand.IntN(3) {
		h := r.someone(false)
		if h == nil {
			h = r.AddHost()
		}
		r.After(r.delay(0, 4*time.Second), func() {
			if !h.Up {
				h.Start(false)
			}
		})
	}
}

// someone draws a host that is up, or one that is not: nil when there is none.
func (r *random) someone(up bool) *Host {
	var hosts []*Host
	for _, h := range r.hosts {
		if h.Up == up {
			hosts = append(hosts, h)
		}
	}
	if len(hosts) == 0 {
		return nil
	}
	return hosts[r.rand.IntN(len(hosts))]
}
