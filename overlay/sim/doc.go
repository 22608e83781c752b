// Package sim runs whole overlays of node.Node values in one goroutine on virtual time (RFC 6940 as the node package
// implements it). A World is a seed, an event heap and values: the same seed gives the same run, message for message.
// Messages cross the simulated links encoded; only cryptography is replaced, by tables of who signed what. Tests and the
// sim subcommand use it. A World is not safe for concurrent use.
//
//	w := sim.New(sim.Config{Seed: 1, Peers: 8})
//	w.Start()
//	err := w.Settle(time.Minute) // everybody has joined
//	w.Kill(3, sim.Crash)
//	w.Run(30 * time.Second)
//	err = w.Check()
package sim
