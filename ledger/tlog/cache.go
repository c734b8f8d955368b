package tlog

import (
	"container/list"
	"sync"
)

// tileNodes are all nodes of a full tile, verified: level after level, from its
// 256 hashes up to its root.
type tileNodes [2*TileWidth - 1]Hash

// expand fills in the nodes above the first 256, and returns the root.
func (t *tileNodes) expand() Hash {
	for from, to := 0, TileWidth; to < len(t); from, to = from+2, to+1 {
		t[to] = NodeHash(t[from], t[from+1])
	}
	return t[len(t)-1]
}

// node returns the node at a level within the tile, 0 to 8.
func (t *tileNodes) node(level uint8, index uint64) Hash {
	return t[2*TileWidth-(2*TileWidth>>level)+int(index)]
}

type tileID struct {
	level uint8
	n     uint64
}

// tileNodesBytes is about what one cached tile costs.
const tileNodesBytes = (2*TileWidth-1)*HashSize + 160

// A tileCache keeps the verified tiles that were used last. A full tile never
// changes, so it never goes stale.
type tileCache struct {
	mu    sync.Mutex
	max   int
	byID  map[tileID]*list.Element // of *cachedTile
	order *list.List               // used last in front
}

type cachedTile struct {
	id    tileID
	nodes *tileNodes
}

func newTileCache(bytes int) *tileCache {
	return &tileCache{max: max(bytes/tileNodesBytes, 8), byID: make(map[tileID]*list.Element), order: list.New()}
}

func (c *tileCache) get(id tileID) *tileNodes {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byID[id]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*cachedTile).nodes
}

func (c *tileCache) put(id tileID, t *tileNodes) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID[id] != nil {
		return
	}
	c.byID[id] = c.order.PushFront(&cachedTile{id, t})
	if c.order.Len() > c.max {
		last := c.order.Back()
		delete(c.byID, last.Value.(*cachedTile).id)
		c.order.Remove(last)
	}
}
