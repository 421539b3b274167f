// The proxy: Caddy with two modules of this stack's own, the login (login.go) and the bound on connections (connections.go).
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

func main() {
	caddycmd.Main()
}
