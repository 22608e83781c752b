// Package gateway assembles one node from its configuration: SIP front end, cores, local bindings, overlay peer, admin HTTP. It is program, not
// library: every package below it is used here and only here plugged into the others.
package gateway
