package ledger

// SetCells changes which payloads lie in cells, and how many keys are made at a
// time, so that tests which copy every file many times have little to copy.
func (v *Vault) SetCells(maxCell int64, keysAhead int) {
	v.maxCell, v.keysAhead = maxCell, keysAhead
	if v.cells != nil {
		v.cells.keys.ahead = keysAhead
	}
}
