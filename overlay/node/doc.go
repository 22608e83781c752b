// Package node is one RELOAD node as a value: it joins, routes, stores and answers (RFC 6940 §6, §7, §10) without I/O,
// clock, goroutine, lock or cryptography. Its callers are the driver in package overlay and the simulator in
// overlay/sim. Inputs are method calls with the time as an argument, which must not go backwards; what they cause comes
// out as Effects. The contract of a driver: call one input method, then Take and carry out the effects in order, then
// the next input:
//
//	for {
//		act(n.Take())
//		arm(n.Deadline())
//		select {
//		case f := <-inbox: // one of Receive, Verified, Sealed, LinkUp, DialFailed, LinkDown, Do, Cancel
//			f(time.Now(), n)
//		case now := <-timer.C:
//			n.Tick(now)
//		}
//	}
//
// A Node is not safe for concurrent use.
//
// How a node becomes a peer (§10.5, §11.4):
//
//	JN                        B (bootstrap)                     AP (owns n+1)
//	Dial B ------------------>
//	AttachReq [resource n+1] ->  ------------ forwarded ------>
//	<----------------------------------------- AttachAns
//	<========================================= Dial: JN is the TLS server
//	<----------------------------------------- UpdateReq full (send_update)
//	AttachReq [AP, neighbour] for every neighbour; each of them dials and sends its Update
//	JoinReq --------------------------------->
//	<----------------------------------------- JoinAns, StoreReq ... StoreReq
//	<----------------------------------------- UpdateReq: JN is predecessors[0]. JN is a peer.
//	UpdateReq to every link                    UpdateReq to every link
//
// What the files hold: receive.go and request.go move messages; answer.go, storage.go and attach.go answer them;
// diagnose.go answers and asks what RFC 7851 adds; join.go, admit.go, update.go, leave.go and maintain.go keep the ring;
// replica.go keeps the copies and durable.go what outlives a restart; limiter.go holds what a link may carry.
//
// configure.go and sequence.go have the configuration follow its documents and spread them (§6.3.2.1, §6.5.4); partition.go
// finds and heals partitions (§10.7.4.4).
//
// unnamed.go is for links of certificates with several Node-IDs, until it is known which of them is meant (§6.1.2); range.go has
// what a peer is responsible for change hands at once.
package node
