// Endurance runs a ring of real p2psip-gateway processes through faults, and checks what every living one of them says
// against the history of what was acknowledged. The peers are spread over sites, each a network namespace of its own;
// the faults are kill -9 of one or two peers, an orderly stop, SIGSTOP and SIGCONT, and a site or half of all sites cut off.
// All the while phones register, move and leave, and look each other up.
//
//	go run ./deploy/endurance --peers 30 --for 30m --seed 7 --out report
//
// It needs Linux and root, for the namespaces, and the program ip. It shares no code with what it tests.
//
// # What is checked
//
// A registration is one AOR at one gateway. It is acknowledged from the moment on that its REGISTER got 200 (the gateways
// run with registrar.publish: required, so that this means: stored in the overlay) until the REGISTER that removes it is sent.
//
//   - missing: a lookup that began after the acknowledgement does not show the registration, though no fault is on and the last
//     one is over for longer than the grace time
//   - lost: the same in one of the sweeps, which ask a living gateway for every AOR after each fault and all of them at the end
//   - wrong: a lookup shows a gateway where this AOR never was, or whose removal was acknowledged before the lookup began
//   - failed: a lookup or REGISTER without an answer, with the same condition as missing
//
// During a fault and its grace time, what is missing, stale across a partition or failed is counted and timed, but no violation.
package main
