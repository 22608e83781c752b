// Redirect-tier measures redirect peers that hold no registration: real processes on loopback, gateways at which phones register, redirect
// peers, and callers who ask these for anybody.
//
//	go run ./deploy/redirect-tier --binary bin/p2psip-gateway                 # 10 gateways, 3 redirect peers, 10,000 phones
//	go run ./deploy/redirect-tier --kamailio BENCH/servers/kamailio/start.sh  # and Kamailio with the same load
//
// Each phone registers at one gateway. A caller sends INVITE for one of them to one of the redirect peers, at a steady rate, and goes to the next
// one when it gets no answer in half a second or the port is closed, as RFC 3263 §4.3 has it. The answer must be a 302 whose one Contact is the
// phone's user at the address of its home gateway; anything else is a wrong answer, and none from any peer in four seconds a missing one. The
// phases are: everybody once; everybody at random at the rate; some hundred at the rate, which are in the caches; and once more everybody,
// while one redirect peer is killed (SIGKILL). CPU is that of the processes, per request. It shares no code with what it tests, and exits 1
// when an answer was wrong or missing.
package main
