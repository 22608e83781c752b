// Soak registers phones at one real p2psip-gateway, has them call each other at a steady rate, and watches the process: its
// memory and its goroutines have to stay where they are, and no call may fail.
//
//	go run ./deploy/soak --binary bin/p2psip-gateway --for 30m --rate 200 --phones 10000
//
// With --expires 10m the records of all phones are stored again within five minutes, and not within half an hour.
//
// A call is INVITE, 180, 200, ACK, a second of silence, BYE, 200, over UDP on loopback. Each phone registers again every five minutes.
// It shares no code with what it tests. It exits 1 when
//
//   - a call or a REGISTER failed
//   - the median of the resident memory, or of the goroutines, in the last sixth of the time differs by more than 5 % from that in the
//     first, which begins when both have had two minutes to settle; less memory is well.
//     The program and the database files that it maps do not count: their pages are the kernel's to take back, and there are no more
//     of them than the files have
//   - there ever were more goroutines than before the load, and one for each live transaction, which is one without a final response, and a
//     few that scrapes and the overlay take
package main
