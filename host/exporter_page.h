/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The page of `twinstep exporter`: one file, nothing from outside, filled in from the JSON. */
#ifndef HOST_EXPORTER_PAGE_H
#define HOST_EXPORTER_PAGE_H

/* clang-format off */
static const char exporter_page[] =
"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width,initial-scale=1'>\n"
"<title>Twinstep</title><style>\n"
":root{color-scheme:light dark;--bad:#c62828;--warn:#b26a00;--good:#2e7d32;--line:#8884}\n"
"body{font:16px/1.45 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}\n"
"h1{font-size:1.3rem}h2{font-size:1.15rem;margin:0;display:flex;gap:.6rem;flex-wrap:wrap;align-items:baseline}\n"
".g{border:1px solid var(--line);border-radius:.5rem;padding:1rem;margin:1rem 0}\n"
".s{font-size:.9rem;color:#fff;border-radius:1rem;padding:.1rem .7rem;background:var(--warn)}\n"
".s.good{background:var(--good)}.s.bad{background:var(--bad)}\n"
"dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(8rem,1fr));gap:.6rem;margin:.8rem 0}\n"
"dt{font-size:.8rem;opacity:.75}dd{margin:0;font-variant-numeric:tabular-nums}\n"
"svg{width:100%;height:3.5rem;border-bottom:1px solid var(--line)}polyline{fill:none;stroke:currentColor;stroke-width:1.5;vector-effect:non-scaling-stroke}\n"
"ol{list-style:none;padding:0;margin:.5rem 0 0;font-size:.9rem}li{padding:.15rem 0;border-top:1px solid var(--line);overflow-wrap:anywhere}\n"
"li time{opacity:.75;margin-right:.5rem}li b{margin-right:.5rem}.alarm{color:var(--bad);font-weight:600}\n"
"</style><h1>Twinstep on <span id=host>&hellip;</span> <small id=when></small></h1><main id=m></main><script>\n"
"const past={},el=(t,c,x)=>{const e=document.createElement(t);if(c)e.className=c;if(x!==undefined)e.textContent=x;return e};\n"
"const size=b=>b===undefined?'-':b<1e9?(b/1048576).toFixed(0)+' MiB':(b/1073741824).toFixed(1)+' GiB';\n"
"const span=s=>s===undefined?'-':s<120?s.toFixed(0)+' s':s<7200?(s/60).toFixed(0)+' min':s<172800?(s/3600).toFixed(1)+' h':(s/86400).toFixed(1)+' d';\n"
"function alarms(g){const s=g.status||{},a=[];if(g.phase!=='down'&&!g.status)a.push(g.why||'no replica runs here');\n"
"if(s.live&&s.state!=='protected')a.push('UNPROTECTED: '+s.state);if(s.divergence)a.push('diverged: '+s.divergence.differs);\n"
"if(s.vcpu_ms>5000)a.push('the vCPU shows no progress for '+span(s.vcpu_ms/1000));if(s.state==='asking'||s.state==='claiming')a.push('waits for the arbiter');return a}\n"
"function chart(name,v){const p=past[name]=past[name]||[];if(v!==undefined)p.push(v);if(p.length>150)p.shift();const max=Math.max(1,...p);\n"
"const ns='http://www.w3.org/2000/svg',s=document.createElementNS(ns,'svg'),l=document.createElementNS(ns,'polyline');s.setAttribute('viewBox','0 0 150 40');\n"
"s.setAttribute('preserveAspectRatio','none');l.setAttribute('points',p.map((y,x)=>x+','+(39-38*y/max)).join(' '));s.append(l);const t=el('div');\n"
"t.append(el('dt','','lag of the backup, last 5 minutes (highest '+max.toFixed(1)+' ms)'),s);return t}\n"
"function show(g){const s=g.status||{},d=el('section','g'),h=el('h2','',g.name),state=s.state||g.phase,al=alarms(g);\n"
"h.append(el('span','s '+(al.length?'bad':state==='protected'||state==='backup'?'good':''),state),el('small','',s.live?'live here':s.role?'backup here':''));d.append(h);\n"
"al.forEach(a=>d.append(el('div','alarm',a)));const dl=el('dl');[['generation',s.generation],['other side',s.peer],['lag',s.lag_ms===undefined?undefined:s.lag_ms.toFixed(1)+' ms'],\n"
"['acknowledged after',s.ack_us===undefined?undefined:s.ack_us.toFixed(0)+' \\u00b5s'],['outputs held',s.outputs_held],['digests agreed',s.digests_compared],\n"
"['failovers',s.failover?s.failover.count+' (last '+s.failover.ms.toFixed(0)+' ms)':undefined],['join: disks left',s.sync?size(s.sync.left):undefined],['memory',size(g.memory_bytes)],\n"
"['CPU',g.age_s?(100*g.cpu_s/g.age_s).toFixed(0)+' %':undefined],['age',span(g.age_s)]].forEach(([k,v])=>{if(v!==undefined){const x=el('div');x.append(el('dt','',k),el('dd','',String(v)));dl.append(x)}});\n"
"d.append(dl);if(g.status)d.append(chart(g.name,s.lag_ms));const o=el('ol');(g.events||[]).slice(-12).reverse().forEach(e=>{const l=el('li');\n"
"l.append(el('time','',(e.time||'').replace('T',' ').slice(0,19)),el('b','',e.event),e.text||'');o.append(l)});d.append(o);return d}\n"
"async function tick(){try{const r=await(await fetch('/api/v1/machines')).json();host.textContent=r.host;document.getElementById('when').textContent=new Date(r.time*1000).toLocaleTimeString();\n"
"m.replaceChildren(...r.machines.map(show));if(!r.machines.length)m.append(el('p','','no guests on this host'))}catch(e){document.getElementById('when').textContent='does not answer'}setTimeout(tick,2000)}\n"
"tick();</script></html>\n";
/* clang-format on */

#endif
